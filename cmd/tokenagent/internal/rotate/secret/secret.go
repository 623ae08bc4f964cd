// Package secret reads and changes Kubernetes Secrets as JSON, as kubectl gets and
// replaces them: one Secret, or a List of them. Members that nobody here knows keep
// their values.
package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/plain"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// MaxBytes bounds what is read, in bytes. The API server takes 1 MiB of values
// in one Secret (https://kubernetes.io/docs/concepts/configuration/secret/).
const MaxBytes = 16 << 20

// A Document is one Secret, or a List of them. It is immutable.
type Document struct {
	Secrets []*Secret // at least one
	IsList  bool

	text []byte
	top  object
}

// A Secret is a Kubernetes Secret. It is immutable.
type Secret struct {
	// Name is the Secret's namespace and name, safe for a terminal.
	Name string
	// Immutable says that the API server refuses any change of it.
	Immutable bool

	top, data, stringData object            // data and stringData may be nil
	keys                  map[string][]byte // ours, as the API server merges them
	meta                  metadata
}

// lastApplied is the annotation in which kubectl apply keeps the manifest. Where
// an object has it, kubectl replace writes the whole object there, and the next
// kubectl apply of the unchanged manifest deletes every key that the manifest
// does not have: token-next, and token-revoked.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

type metadata struct {
	all                              object
	name, namespace, resourceVersion string
	deletionTimestamp                string
	labels, annotations              map[string]string
	owners                           []owner
}

type owner struct {
	Kind       string `json:"kind"`
	Controller bool   `json:"controller"`
}

func (m *metadata) UnmarshalJSON(text []byte) error {
	err := json.Unmarshal(text, &m.all)
	for name, into := range map[string]any{
		"name": &m.name, "namespace": &m.namespace, "resourceVersion": &m.resourceVersion, "deletionTimestamp": &m.deletionTimestamp,
		"labels": &m.labels, "annotations": &m.annotations, "ownerReferences": &m.owners,
	} {
		if raw, there := m.all[name]; there && err == nil {
			err = json.Unmarshal(raw, into)
		}
	}
	return err
}

var errNotSecret = errors.New("standard input is no Kubernetes Secret (apiVersion v1, kind Secret) and no List of them; pipe the answer of kubectl get secret NAME -o json")

// Parse reads text. Its errors say what to do and quote nothing that was read.
func Parse(text []byte) (*Document, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("standard input is over %d bytes, too much for Secrets; pipe the answer of kubectl get secret NAME -o json", MaxBytes)
	}
	if err := check(text); err != nil {
		return nil, err
	}
	d := &Document{text: text}
	if json.Unmarshal(text, &d.top) != nil || d.top == nil {
		return nil, errNotJSON
	}
	kind := word(d.top["kind"])
	if kind != "List" && kind != "SecretList" {
		s, err := parse(d.top)
		if err != nil {
			return nil, err
		}
		d.Secrets = []*Secret{s}
		return d, nil
	}
	d.IsList = true
	var items []object
	if word(d.top["apiVersion"]) != "v1" || json.Unmarshal(d.top["items"], &items) != nil {
		return nil, errNotSecret
	}
	if len(items) == 0 {
		return nil, errors.New("the list on standard input is empty; no Secret has the name or the labels that kubectl was asked for")
	}
	for i, item := range items {
		if _, there := item["kind"]; !there && kind == "SecretList" { // as in kubectl get --raw
			item = maps.Clone(item)
			item["apiVersion"], item["kind"] = json.RawMessage(`"v1"`), json.RawMessage(`"Secret"`)
		}
		s, err := parse(item)
		if errors.Is(err, errNotSecret) {
			return nil, fmt.Errorf("item %d of the list on standard input is no Kubernetes Secret; list Secrets alone", i+1)
		}
		if err != nil {
			return nil, err
		}
		d.Secrets = append(d.Secrets, s)
	}
	return d, nil
}

// word returns the string that raw is, and "" for anything else.
func word(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s)
	return s
}

// parse reads one Secret.
func parse(top object) (*Secret, error) {
	s := &Secret{top: top}
	if word(top["kind"]) != "Secret" || word(top["apiVersion"]) != "v1" {
		return nil, errNotSecret
	}
	for name, into := range map[string]any{"immutable": &s.Immutable, "metadata": &s.meta} {
		if raw, there := top[name]; there && json.Unmarshal(raw, into) != nil {
			return nil, fmt.Errorf("the Secret's %s has not the form that Kubernetes gives it; pipe the answer of kubectl get secret NAME -o json unchanged", name)
		}
	}
	s.Name = plain.Text(strings.TrimPrefix(s.meta.namespace+"/"+s.meta.name, "/"))
	for name, into := range map[string]*object{"data": &s.data, "stringData": &s.stringData} {
		if raw, there := top[name]; there && json.Unmarshal(raw, into) != nil {
			return nil, fmt.Errorf("secret %s: its %s is no object of keys and values; fix it (kubectl edit secret)", s.Name, name)
		}
	}
	return s, s.readKeys()
}

// readKeys reads the values of our keys: those of stringData win over those of
// data, as the API server merges them when it writes.
func (s *Secret) readKeys() error {
	s.keys = map[string][]byte{}
	for _, key := range content.Names() {
		if raw, there := s.data[key]; there {
			// As encoding/json reads []byte: standard base64, null for nothing.
			value := []byte{}
			if json.Unmarshal(raw, &value) != nil {
				return fmt.Errorf("secret %s: data.%s is no base64 string; fix it (kubectl edit secret), or delete the key", s.Name, key)
			}
			s.keys[key] = value
		}
		if raw, there := s.stringData[key]; there {
			var value string
			if json.Unmarshal(raw, &value) != nil {
				return fmt.Errorf("secret %s: stringData.%s is no string; fix it, or delete the key", s.Name, key)
			}
			s.keys[key] = []byte(value)
		}
	}
	return nil
}

// Keys returns the values of our keys. They must not be modified.
func (s *Secret) Keys() map[string][]byte { return s.keys }

// Names returns the names of all keys, ours or not, sorted.
func (s *Secret) Names() []string {
	all := maps.Clone(s.data)
	if all == nil {
		all = object{}
	}
	maps.Copy(all, s.stringData)
	return slices.Sorted(maps.Keys(all))
}

// With returns the document with edits[i] made in Secrets[i], and without
// kubectl's last-applied-configuration in any of them. Where neither changes
// anything it is the text that was parsed.
func (d *Document) With(edits []content.KeyEdit) ([]byte, error) {
	changed := false
	items := make([]object, len(d.Secrets))
	for i, s := range d.Secrets {
		_, annotated := s.meta.annotations[lastApplied]
		changed = changed || annotated || len(edits[i]) > 0
		var err error
		if items[i], err = s.with(edits[i]); err != nil {
			return nil, err
		}
	}
	if !changed {
		return d.text, nil
	}
	top := items[0]
	if d.IsList {
		raw, err := encode(items)
		if err != nil {
			return nil, err
		}
		top = maps.Clone(d.top)
		top["items"] = raw
	}
	raw, err := encode(top)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, raw, "", "    ") // as kubectl does
	out.WriteByte('\n')
	return out.Bytes(), err
}

// with returns the Secret with edit made, in data alone: what stringData says of
// the same keys goes.
func (s *Secret) with(edit content.KeyEdit) (object, error) {
	top, data, stringData := maps.Clone(s.top), maps.Clone(s.data), maps.Clone(s.stringData)
	if data == nil {
		data = object{}
	}
	set := func(in object, name string, value any) (err error) {
		in[name], err = encode(value)
		return err
	}
	for key, value := range edit {
		delete(stringData, key)
		delete(data, key)
		if value != nil {
			if err := set(data, key, value); err != nil {
				return nil, err
			}
		}
	}
	if len(edit) > 0 {
		if err := set(top, "data", data); err != nil {
			return nil, err
		}
		if stringData != nil {
			if err := set(top, "stringData", stringData); err != nil {
				return nil, err
			}
		}
	}
	if _, annotated := s.meta.annotations[lastApplied]; !annotated {
		return top, nil
	}
	meta, annotations := maps.Clone(s.meta.all), maps.Clone(s.meta.annotations)
	delete(annotations, lastApplied)
	err := set(meta, "annotations", annotations)
	if err == nil {
		err = set(top, "metadata", meta)
	}
	return top, err
}
