package tokenreview

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/tokenagent/tokenagent/internal/clientfiles"
	"github.com/tokenagent/tokenagent/internal/strictjson"
)

const (
	apiVersion = "authentication.k8s.io/v1"
	kind       = "TokenReview"
	// maxBytes limits an answer. It holds the token and the groups of the user.
	maxBytes = 1 << 20
)

// A review is a TokenReview without its status
// (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/).
type review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token     string   `json:"token"`
		Audiences []string `json:"audiences"`
	} `json:"spec"`
}

// request asks the API server. The error says how to fix it, and quotes neither the token
// nor the answer.
func (r *Reviewer) request(ctx context.Context, token string) (authenticated bool, err error) {
	question := review{APIVersion: apiVersion, Kind: kind}
	question.Spec.Token = token
	// The API server itself remembers for 10 s that it has accepted a token for a list of
	// audiences. A list that differs each time makes it look at the token again. No token has
	// this audience (RFC 2606 section 2).
	question.Spec.Audiences = append(slices.Clone(r.o.Audiences), "https://tokenagent.invalid/"+rand.Text())
	body, err := json.Marshal(question)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.o.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the URL of the API server cannot be requested")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tokenagent")
	// net/http then repeats a request whose kept connection the server has closed. It does not
	// send the header.
	req.Header["Idempotency-Key"] = nil
	resp, err := r.client.Do(req)
	if err != nil {
		return false, unreachable(err)
	}
	defer resp.Body.Close()
	if err := statusError(resp.StatusCode); err != nil {
		return false, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if err != nil {
		return false, unreachable(err)
	}
	return parse(text, r.o.Audiences)
}

// statusError returns the error of an answer with the status code, or nil if the answer is a
// TokenReview.
func statusError(code int) error {
	fix := "check the API server"
	switch {
	case code == http.StatusOK || code == http.StatusCreated:
		return nil
	case code == http.StatusUnauthorized:
		fix = "it does not accept the pod's own token; check the pod's service account"
	case code == http.StatusForbidden:
		fix = "bind the pod's service account to the ClusterRole system:auth-delegator"
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		fix = "the agent asks it again"
	}
	return fmt.Errorf("the API server answers %d; %s", code, fix)
}

// unreachable returns the error of a request without an answer. It does not use the text of
// net/http, which contains changing port numbers and data from the server.
func unreachable(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok && errors.Is(err, clientfiles.ErrFiles) {
		return urlErr.Err
	}
	netErr, isNet := errors.AsType[net.Error](err)
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, isOp := errors.AsType[*net.OpError](err)
	_, isName := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNet && netErr.Timeout():
		return fmt.Errorf("the API server gives no complete answer within %s; check its load and the network", timeout)
	case isUntrusted:
		return errors.New("the certificate of the API server is not trusted; check the ca.crt of the pod's service account")
	case isOp || isName:
		return errors.New("the API server cannot be reached; check that it runs, and the network")
	default:
		return errors.New("the API server gives no answer in HTTP; check that the address is that of an API server")
	}
}

var errAnswer = errors.New("the API server's answer is not a TokenReview; check that the address is that of an API server")

// parse reads an answer. It reports whether the API server has authenticated the token for
// one of audiences. Names of members count to the letter, and must not be repeated, so that
// the answer has one meaning only.
func parse(text []byte, audiences []string) (authenticated bool, err error) {
	if len(text) > maxBytes || !json.Valid(text) {
		return false, errAnswer
	}
	if _, err := strictjson.Check(text); err != nil {
		return false, errAnswer
	}
	top, err := members(text)
	if err != nil || !is(top["apiVersion"], apiVersion) || !is(top["kind"], kind) {
		return false, errAnswer
	}
	status, err := members(top["status"])
	if err != nil {
		return false, errAnswer
	}
	if value, has := status["authenticated"]; has { // the API server omits false
		if err := json.Unmarshal(value, &authenticated); err != nil {
			return false, errAnswer
		}
	}
	// An API server that does not know audiences would leave them out.
	var granted []string
	if value, has := status["audiences"]; has {
		if err := json.Unmarshal(value, &granted); err != nil {
			return false, errAnswer
		}
	}
	return authenticated && slices.ContainsFunc(granted, func(a string) bool { return slices.Contains(audiences, a) }), nil
}

// members returns the members of a JSON object.
func members(text []byte) (m map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, errAnswer
	}
	return m, nil
}

// is reports whether text is the JSON string want.
func is(text []byte, want string) bool {
	var got string
	return json.Unmarshal(text, &got) == nil && got == want
}
