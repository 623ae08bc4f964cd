package content

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
)

// LooksLikeKeys reports whether the text of a file is verification keys and not tokens:
// JSON or PEM. An HMAC secret looks like a token.
func LooksLikeKeys(text []byte) bool {
	text = bytes.Trim(bytes.TrimPrefix(text, []byte(bom)), white)
	return bytes.HasPrefix(text, []byte("-----BEGIN ")) || IsJWK(text) && json.Valid(text)
}

// IsJWK reports whether text, which parses, is JSON.
func IsJWK(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(text, []byte(bom)), white), []byte("{"))
}

// editSet returns text, a key set, changed so that it declares want. It writes the set anew
// if a key comes or goes. All other members, and the members of the keys that stay, keep
// their values.
func (s Source) editSet(text []byte, want Content) ([]byte, error) {
	var set map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte(bom)), &set); err != nil {
		return nil, err
	}
	var keys, edited []json.RawMessage
	if err := json.Unmarshal(set["keys"], &keys); err != nil {
		return nil, err
	}
	missing := slices.Clone(want.Listed)
	for _, raw := range keys { // a key is there once for each of its names
		got, err := jwks.Parse(raw, jwks.ParseOptions{Algorithm: s.options.Algorithm})
		if err != nil {
			return nil, err
		}
		is := func(k Credential) bool { return k.ID() == got.Decls[0].ID }
		if slices.ContainsFunc(want.Listed, is) {
			edited = append(edited, raw)
			missing = slices.DeleteFunc(missing, is)
		}
	}
	if len(edited) == len(keys) && len(missing) == 0 {
		return text, nil
	}
	for _, k := range missing {
		edited = append(edited, json.RawMessage(k.Reveal()))
	}
	var err error
	if set["keys"], err = json.Marshal(edited); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(set, "", "  ")
	return append(out, '\n'), err
}
