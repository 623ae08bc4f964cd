package verify

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/claims"
)

// subjectOf returns the "sub" of claims, "" where there is none, and whether it is
// one. RFC 7519 section 4.1.2 wants a string; many issuers write a user's number,
// which is taken by its digits as they stand in the token, since a float64 does
// not hold all of them.
func subjectOf(members map[string]any, body string) (subject string, ok bool) {
	switch sub := members["sub"].(type) {
	case nil:
		_, null := members["sub"]
		return "", !null
	case string:
		return sub, true
	case float64:
		text, err := strictBase64.DecodeString(body)
		var literal map[string]json.RawMessage
		if err != nil || json.Unmarshal(text, &literal) != nil {
			return "", false
		}
		subject = string(literal["sub"])
		return subject, strings.Trim(strings.TrimPrefix(subject, "-"), "0123456789") == ""
	default:
		return "", false
	}
}

// hasClaim reports whether the claim is there and, where values are given, has one
// of them.
func hasClaim(members map[string]any, name string, values []string) bool {
	claim, last, there := claims.Find(members, name)
	if !there || len(values) == 0 {
		return there
	}
	if text, ok := claim.(string); ok && (last == "scope" || last == "scp") {
		return slices.ContainsFunc(strings.Split(text, " "), func(word string) bool { return word != "" && slices.Contains(values, word) })
	}
	if list, ok := claim.([]any); ok {
		return slices.ContainsFunc(list, func(one any) bool { return isOne(one, values) })
	}
	return isOne(claim, values)
}
