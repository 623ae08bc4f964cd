package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// A Secret is a Secret as the API server has it.
type Secret struct {
	Namespace, Name string
	JSON            []byte // the whole object, with its kind
}

func secretPath(namespace, name string) string {
	return "/api/v1/namespaces/" + url.PathEscape(namespace) + "/secrets/" + url.PathEscape(name)
}

// Secret returns the Secret of that name.
func (c *Client) Secret(ctx context.Context, namespace, name string) (Secret, error) {
	var text json.RawMessage
	err := c.send(ctx, http.MethodGet, secretPath(namespace, name), object{"secret", namespace, name}, nil, &text)
	return Secret{namespace, name, text}, err
}

// Secrets returns the Secrets of a namespace that the label selector matches. The namespace
// "" means all of them.
func (c *Client) Secrets(ctx context.Context, namespace, selector string) (all []Secret, err error) {
	path := "/api/v1/secrets"
	if namespace != "" {
		path = "/api/v1/namespaces/" + url.PathEscape(namespace) + "/secrets"
	}
	about := object{kind: "secret", namespace: namespace}
	err = c.list(ctx, path, url.Values{"labelSelector": {selector}}, about, func(item json.RawMessage) error {
		var members map[string]json.RawMessage
		var meta struct{ Namespace, Name string }
		if json.Unmarshal(item, &members) != nil || json.Unmarshal(members["metadata"], &meta) != nil {
			return &Error{Reason: Broken, method: http.MethodGet, object: about}
		}
		// The items of a list do not repeat what they are.
		members["apiVersion"], members["kind"] = json.RawMessage(`"v1"`), json.RawMessage(`"Secret"`)
		text, err := json.Marshal(members)
		all = append(all, Secret{meta.Namespace, meta.Name, text})
		return err
	})
	return all, err
}

// Replace puts s in the place of the Secret of the same name, and returns what the API
// server made of it. The error is a [Conflict] if the Secret has changed since the
// resourceVersion in s. With dry the API server does everything but store it.
func (c *Client) Replace(ctx context.Context, s Secret, dry bool) (Secret, error) {
	var text json.RawMessage
	path := dryRun(secretPath(s.Namespace, s.Name), dry)
	err := c.send(ctx, http.MethodPut, path, object{"secret", s.Namespace, s.Name}, s.JSON, &text)
	s.JSON = text
	return s, err
}
