package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// A Remote is a Secret at an API server, as it was when it was read.
type Remote struct {
	text   []byte
	secret *secret
	source content.Source
}

// ParseRemote parses a Secret as the API server has it. It refuses one that cannot change.
func ParseRemote(text []byte, read content.Options) (*Remote, error) {
	s, err := parseRemote(text)
	if err != nil {
		return nil, err
	}
	read.Name, read.All = "secret "+s.name, keysOf(s.data, s.stringData)
	switch {
	case s.immutable:
		return nil, fmt.Errorf("%s is immutable, and the API server refuses any change; create a new Secret under another name and mount that one", read.Name)
	case s.meta.DeletionTimestamp != "":
		return nil, fmt.Errorf("%s is being deleted; leave it out, or create it again", read.Name)
	}
	source, err := content.Parse(s.keys, "", read)
	return &Remote{text, s, source}, err
}

func parseRemote(text []byte) (*secret, error) {
	var top object
	if json.Unmarshal(text, &top) != nil || !isKind(top, "Secret") {
		return nil, errors.New("the API server does not answer with a Secret; check that it is a Kubernetes API server")
	}
	return parseSecret(top)
}

// Source returns what the Secret declares.
func (r *Remote) Source() content.Source { return r.source }

// Annotation returns the annotation of that name, or "".
func (r *Remote) Annotation(name string) string { return r.secret.meta.Annotations[name] }

// Edit returns the Secret with writes made in it, and with the annotation. It has the
// resourceVersion that was read. The annotation of kubectl apply is left out.
func (r *Remote) Edit(writes []content.Write, annotation, value string) ([]byte, error) {
	s, err := parseRemote(r.text) // a copy
	if err != nil {
		return nil, err
	}
	if _, err = s.edit(writes); err != nil {
		return nil, err
	}
	all := s.meta.Annotations
	if all == nil {
		all = map[string]string{}
	}
	all[annotation] = value
	if s.metadata == nil {
		s.metadata = object{}
	}
	err = errors.Join(set(s.metadata, "annotations", all), set(s.top, "metadata", s.metadata))
	if err != nil {
		return nil, err
	}
	return encode(s.top, "")
}

// Owners says which tools would undo a change of the Secret, each with what to do instead.
func (r *Remote) Owners() []string {
	out := r.secret.meta.managedBy()
	for _, m := range r.secret.meta.ManagedFields {
		if keys := m.applies(); len(keys) > 0 {
			out = append(out, fmt.Sprintf("the field manager %q applies its key %s (metadata.managedFields), and would put the old value back; rotate where it takes the value from", m.Manager, keys[0]))
		}
	}
	return out
}

// Warnings says what may undo the writes by hand, and what is wrong with the content after
// them. It quotes no content.
func (r *Remote) Warnings(writes []content.Write) []string {
	owners := r.secret.meta.managedBy()
	return slices.DeleteFunc(r.secret.warnings(r.source.After(writes)), func(text string) bool {
		return slices.Contains(owners, text) // they are an error of their own
	})
}

// A fieldManager is an entry of metadata.managedFields
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
type fieldManager struct {
	Manager, Operation string
	FieldsV1           json.RawMessage
}

// applies returns the keys of agents that the manager owns by server-side apply. A person
// who applies with kubectl gets a conflict instead.
func (m fieldManager) applies() []string {
	if m.Operation != "Apply" || m.Manager == "kubectl" {
		return nil
	}
	var fields, data object
	names := object{}
	_ = json.Unmarshal(m.FieldsV1, &fields) // another form of fields says nothing
	_ = json.Unmarshal(fields["f:data"], &data)
	for name := range data {
		if len(name) > 2 && name[:2] == "f:" {
			names[name[2:]] = nil
		}
	}
	return agentKeysOf(names, nil)
}
