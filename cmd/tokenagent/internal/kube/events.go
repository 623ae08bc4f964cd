package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// An Event is shown by kubectl describe of the object that it is about
// (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/).
type Event struct {
	Name    string // two Events of one name in a namespace are one
	Reason  string // one word in upper camel case
	Message string
	Warning bool
}

// Report creates an Event about the Secret. It is no error if there is one of that name.
func (c *Client) Report(ctx context.Context, s Secret, e Event) error {
	var is struct {
		Metadata struct{ UID string }
	}
	_ = json.Unmarshal(s.JSON, &is) // without the UID, the event is shown all the same
	level := "Normal"
	if e.Warning {
		level = "Warning"
	}
	at := c.Now().UTC().Format(time.RFC3339)
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Event",
		"metadata":       map[string]any{"name": e.Name, "namespace": s.Namespace},
		"involvedObject": map[string]any{"apiVersion": "v1", "kind": "Secret", "namespace": s.Namespace, "name": s.Name, "uid": is.Metadata.UID},
		"reason":         e.Reason, "message": e.Message, "type": level, "count": 1,
		"firstTimestamp": at, "lastTimestamp": at,
		"source": map[string]any{"component": "tokenagent"},
	})
	if err != nil {
		return err
	}
	path := "/api/v1/namespaces/" + url.PathEscape(s.Namespace) + "/events"
	err = c.send(ctx, http.MethodPost, path, object{"event", s.Namespace, e.Name}, body, nil)
	if Is(err, AlreadyExists) {
		return nil
	}
	return err
}
