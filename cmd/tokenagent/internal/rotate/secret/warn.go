package secret

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// Warnings says what may undo a change that leaves our keys as keys. It names
// keys and kinds and quotes no content.
func (s *Secret) Warnings(keys map[string][]byte) (out []string) {
	if s.version == "" {
		out = append(out, "the Secret has no metadata.resourceVersion, so that of two operators the later overwrites the other; pipe the answer of kubectl get secret NAME -o json unchanged")
	}
	if s.deleting {
		out = append(out, "the Secret is being deleted (metadata.deletionTimestamp)")
	}
	if s.owner != "" {
		out = append(out, fmt.Sprintf("the Secret is kept by a controller (an owner of kind %q), which may undo this; rotate where that takes its content from", s.owner))
	}
	if undone := s.undone(keys); len(undone) > 0 {
		out = append(out, fmt.Sprintf("the next kubectl apply would undo this: its annotation %s carries %s with other content; "+
			"take the keys out of the manifest that is applied, or change it too", lastAppliedKey, strings.Join(undone, ", ")))
	}
	return out
}

// undone returns which of our keys a kubectl apply of the same manifest as
// before would set to something else than keys has. Keys that the manifest
// does not name are left alone by it
// (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/).
func (s *Secret) undone(keys map[string][]byte) (out []string) {
	if s.lastApplied == "" {
		return nil
	}
	var applied struct {
		Data       map[string]json.RawMessage `json:"data"`
		StringData map[string]json.RawMessage `json:"stringData"`
	}
	if json.Unmarshal([]byte(s.lastApplied), &applied) != nil {
		return nil // apply cannot read it either
	}
	for _, key := range content.Names() {
		raw, there := applied.Data[key]
		value, text := []byte{}, ""
		bad := there && json.Unmarshal(raw, &value) != nil
		if raw, ok := applied.StringData[key]; ok {
			there = true
			bad = json.Unmarshal(raw, &text) != nil
			value = []byte(text)
		}
		have, kept := keys[key]
		if there && (bad || !kept || !slices.Equal(value, have)) {
			out = append(out, key)
		}
	}
	return out
}
