// Package secret reads and changes a Kubernetes Secret as JSON, as kubectl gets
// and replaces it. What is not changed keeps its bytes: members that nobody
// here knows, their order, numbers and white space.
package secret

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/plain"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// MaxBytes bounds a Secret as JSON, in bytes. The API server takes 1 MiB of
// values (https://kubernetes.io/docs/concepts/configuration/secret/), which
// base64 and the metadata make longer.
const MaxBytes = 4 << 20

// A Secret is a Kubernetes Secret as JSON. It is immutable.
type Secret struct {
	// Name is the Secret's namespace and name, for texts: made plain.
	Name string
	// Immutable tells that the API server refuses any change of it.
	Immutable bool

	text        []byte
	top         object
	data        object
	hasData     bool
	stringData  object
	hasString   bool
	keys        map[string][]byte // ours, as the API server merges them
	version     string
	deleting    bool
	owner       string // the kind of the controller that keeps it
	lastApplied string
}

const lastAppliedKey = "kubectl.kubernetes.io/last-applied-configuration"

// head is what matters of a Secret besides its values.
type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Immutable  bool   `json:"immutable"`
	Metadata   struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		ResourceVersion   string            `json:"resourceVersion"`
		DeletionTimestamp *string           `json:"deletionTimestamp"`
		Annotations       map[string]string `json:"annotations"`
		OwnerReferences   []struct {
			Kind       string `json:"kind"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
}

// Parse reads text. Its errors name the mend and quote nothing that was read.
func Parse(text []byte) (*Secret, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("standard input is over %d bytes, more than a Secret can be; pipe the answer of kubectl get secret NAME -o json", MaxBytes)
	}
	if err := check(text); err != nil {
		return nil, err
	}
	s := &Secret{text: text}
	sc := scanner{text: text}
	sc.white()
	var ok bool
	if s.top, ok = objectAt(text, value{start: sc.at}); !ok {
		return nil, errNotJSON
	}
	var h head
	if err := s.head(&h); err != nil {
		return nil, err
	}
	s.Name, s.Immutable = plain.Text(strings.TrimPrefix(h.Metadata.Namespace+"/"+h.Metadata.Name, "/")), h.Immutable
	s.version, s.deleting = h.Metadata.ResourceVersion, h.Metadata.DeletionTimestamp != nil
	s.lastApplied = h.Metadata.Annotations[lastAppliedKey]
	for _, o := range h.Metadata.OwnerReferences {
		if o.Controller {
			s.owner = o.Kind
		}
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

var errNotSecret = errors.New("standard input is no Kubernetes Secret (apiVersion v1, kind Secret); pipe the answer of kubectl get secret NAME -o json")

// head decodes what matters besides the values. encoding/json matches names
// whatever their case, and the API server does not, so each is looked up here.
func (s *Secret) head(h *head) error {
	kind := s.top.find("kind")
	if kind == nil || json.Unmarshal(s.at(kind), &h.Kind) != nil {
		return errNotSecret
	}
	switch {
	case h.Kind == "List" || h.Kind == "SecretList":
		return errors.New("standard input is a list; name one Secret: kubectl get secret NAME -o json")
	case h.Kind != "Secret":
		return errNotSecret
	}
	for name, into := range map[string]any{"apiVersion": &h.APIVersion, "immutable": &h.Immutable, "metadata": &h.Metadata} {
		if m := s.top.find(name); m != nil && json.Unmarshal(s.at(m), into) != nil {
			return fmt.Errorf("the Secret's %s has not the form that Kubernetes gives it; pipe the answer of kubectl get secret NAME -o json unchanged", name)
		}
	}
	if h.APIVersion != "v1" {
		return errNotSecret
	}
	return nil
}

func (s *Secret) at(m *member) []byte { return s.text[m.val.start:m.val.end] }

// read finds the values of our keys: those of stringData win over those of
// data, as the API server merges them when it is written.
func (s *Secret) read() error {
	var err error
	if s.data, s.hasData, err = s.values("data"); err != nil {
		return err
	}
	if s.stringData, s.hasString, err = s.values("stringData"); err != nil {
		return err
	}
	s.keys = map[string][]byte{}
	for _, key := range content.Names() {
		if m := s.data.find(key); m != nil {
			// As encoding/json reads []byte: standard base64, null for nothing.
			value := []byte{}
			if json.Unmarshal(s.at(m), &value) != nil {
				return fmt.Errorf("the Secret's data.%s is no base64 string; mend it (kubectl edit secret), or delete the key", key)
			}
			s.keys[key] = value
		}
		if m := s.stringData.find(key); m != nil {
			var value string
			if json.Unmarshal(s.at(m), &value) != nil {
				return fmt.Errorf("the Secret's stringData.%s is no string; mend it, or delete the key", key)
			}
			s.keys[key] = []byte(value)
		}
	}
	return nil
}

func (s *Secret) values(name string) (o object, there bool, err error) {
	m := s.top.find(name)
	if m == nil || string(s.at(m)) == "null" {
		return object{}, false, nil
	}
	o, ok := objectAt(s.text, m.val)
	if !ok {
		return object{}, false, fmt.Errorf("the Secret's %s is no object of keys and values; mend it (kubectl edit secret)", name)
	}
	return o, true, nil
}

// Keys returns the values of our keys. They must not be modified.
func (s *Secret) Keys() map[string][]byte { return s.keys }

// Text returns the Secret as it came.
func (s *Secret) Text() []byte { return s.text }

// With returns the Secret's text with edit made, in data alone: what
// stringData says of the same keys goes. Nothing else changes a byte.
func (s *Secret) With(edit content.KeyEdit) []byte {
	top, data, str := s.top, s.data, s.stringData
	top.members, data.members, str.members = slices.Clone(top.members), slices.Clone(data.members), slices.Clone(str.members)
	for _, key := range content.Names() {
		value, edited := edit[key]
		if !edited {
			continue
		}
		str.remove(key)
		if value == nil {
			data.remove(key)
			continue
		}
		data.set(key, []byte(`"`+base64.StdEncoding.EncodeToString(value)+`"`))
	}
	if len(data.members) > 0 || s.hasData {
		top.set("data", data.render(s.text))
	}
	if s.hasString {
		top.set("stringData", str.render(s.text))
	}
	out := slices.Concat(s.text[:top.at.start], top.render(s.text))
	return append(out, s.text[top.at.end:]...)
}
