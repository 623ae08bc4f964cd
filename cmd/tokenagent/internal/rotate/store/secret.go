package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// maxSecrets bounds what is read from standard input, in bytes. The API server takes
// 1 MiB of values in one Secret (https://kubernetes.io/docs/concepts/configuration/secret/).
const maxSecrets = 16 << 20

// An object is a JSON object whose members keep the text of their values. Member
// names match exactly, as at the API server; the structs of encoding/json ignore case.
type object = map[string]json.RawMessage

// secrets are Kubernetes Secrets as JSON, one or a List of them, on their way from
// kubectl get to kubectl replace. Members that nobody here knows keep their values.
type secrets struct {
	text   []byte
	top    object
	isList bool
	all    []*secret // at least one

	sources []Source
	o       content.Options
	stdout  io.Writer
}

// A secret is one Kubernetes Secret.
type secret struct {
	name      string // namespace and name, safe for a terminal
	immutable bool

	top, meta, data, stringData object            // data and stringData may be nil
	keys                        map[string][]byte // ours, as the API server merges them

	resourceVersion, deletionTimestamp string
	labels, annotations                map[string]string
	owners                             []owner
}

type owner struct {
	Kind       string `json:"kind"`
	Controller bool   `json:"controller"`
}

var (
	errNotJSON   = errors.New("standard input is not one JSON document; pipe the answer of kubectl get secret NAME -o json")
	errTwice     = errors.New("a JSON object on standard input names a member twice, and programs differ in which one counts; remove one")
	errNotSecret = errors.New("standard input is no Kubernetes Secret (apiVersion v1, kind Secret) and no List of them; pipe the answer of kubectl get secret NAME -o json")
)

// parseSecrets reads text. Its errors say what to do and quote nothing that was read.
func parseSecrets(text []byte) (*secrets, error) {
	if len(text) > maxSecrets {
		return nil, fmt.Errorf("standard input is over %d bytes, too much for Secrets; pipe the answer of kubectl get secret NAME -o json", maxSecrets)
	}
	d := &secrets{text: text}
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errNotJSON
	}
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber() // of any size
	if err := unique(numbers); err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &d.top) != nil || d.top == nil {
		return nil, errNotJSON
	}
	kind, items := word(d.top["kind"]), []object{d.top}
	if d.isList = kind == "List" || kind == "SecretList"; d.isList {
		items = nil
		if word(d.top["apiVersion"]) != "v1" || json.Unmarshal(d.top["items"], &items) != nil {
			return nil, errNotSecret
		}
		if len(items) == 0 {
			return nil, errors.New("the list on standard input is empty; no Secret has the name or the labels that kubectl was asked for")
		}
	}
	for i, item := range items {
		if _, there := item["kind"]; !there && kind == "SecretList" { // as in kubectl get --raw
			item = maps.Clone(item)
			item["apiVersion"], item["kind"] = json.RawMessage(`"v1"`), json.RawMessage(`"Secret"`)
		}
		s, err := parseSecret(item)
		if d.isList && errors.Is(err, errNotSecret) {
			return nil, fmt.Errorf("item %d of the list on standard input is no Kubernetes Secret; list Secrets alone", i+1)
		}
		if err != nil {
			return nil, err
		}
		d.all = append(d.all, s)
	}
	return d, nil
}

// unique returns an error if an object in the next value of d, which is valid, names
// a member twice.
func unique(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	names := map[any]bool{}
	switch token {
	case json.Delim('{'), json.Delim('['):
		for d.More() {
			if token == json.Delim('{') {
				name, _ := d.Token()
				if names[name] {
					return errTwice
				}
				names[name] = true
			}
			if err := unique(d); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	return err
}

// word returns the string that raw is, and "" for anything else.
func word(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s)
	return s
}

// read decodes members of in, where they are there, and returns the name of the first
// that is of another type, or "".
func read(in object, into map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(into)) {
		if raw, there := in[name]; there && json.Unmarshal(raw, into[name]) != nil {
			return name
		}
	}
	return ""
}

func parseSecret(top object) (*secret, error) {
	s := &secret{top: top, keys: map[string][]byte{}}
	if word(top["kind"]) != "Secret" || word(top["apiVersion"]) != "v1" {
		return nil, errNotSecret
	}
	bad := read(top, map[string]any{"immutable": &s.immutable, "metadata": &s.meta})
	var name, namespace string
	if read(s.meta, map[string]any{
		"name": &name, "namespace": &namespace, "resourceVersion": &s.resourceVersion, "deletionTimestamp": &s.deletionTimestamp,
		"labels": &s.labels, "annotations": &s.annotations, "ownerReferences": &s.owners,
	}) != "" {
		bad = "metadata"
	}
	if bad != "" {
		return nil, fmt.Errorf("the Secret's %s has not the form that Kubernetes gives it; pipe the answer of kubectl get secret NAME -o json unchanged", bad)
	}
	s.name = termsafe.Text(strings.TrimPrefix(namespace+"/"+name, "/"))
	if bad := read(top, map[string]any{"data": &s.data, "stringData": &s.stringData}); bad != "" {
		return nil, fmt.Errorf("secret %s: its %s is no object of keys and values; fix it (kubectl edit secret)", s.name, bad)
	}
	// The values of stringData win over those of data, as the API server merges them
	// when it writes.
	for _, key := range content.Names() {
		if raw, there := s.data[key]; there {
			// As encoding/json reads []byte: standard base64, null for nothing.
			value := []byte{}
			if json.Unmarshal(raw, &value) != nil {
				return nil, fmt.Errorf("secret %s: data.%s is no base64 string; fix it (kubectl edit secret), or delete the key", s.name, key)
			}
			s.keys[key] = value
		}
		if raw, there := s.stringData[key]; there {
			var value string
			if json.Unmarshal(raw, &value) != nil {
				return nil, fmt.Errorf("secret %s: stringData.%s is no string; fix it, or delete the key", s.name, key)
			}
			s.keys[key] = []byte(value)
		}
	}
	return s, nil
}

// names returns the names of all keys, ours or not, sorted.
func (s *secret) names() []string {
	return slices.Sorted(maps.Keys(joined(s.data, s.stringData)))
}

// joined returns a copy of a with the members of b.
func joined(a, b object) object {
	out := object{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

func (d *secrets) Sources() []Source { return d.sources }

func (d *secrets) Prepare(to []content.Content) (func(context.Context) error, [][]string, error) {
	edits, warnings := make([]content.KeyEdit, len(to)), make([][]string, len(to))
	for i, s := range d.all {
		if !to[i].Equal(d.sources[i].Content) {
			var err error
			if edits[i], err = content.EditKeys(s.keys, to[i], d.o); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", d.sources[i].Name, err)
			}
		}
		warnings[i] = s.warnings(edits[i].Apply(s.keys))
	}
	text, err := d.with(edits)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.sources[0].Name, err)
	}
	return func(context.Context) error {
		if closed(d.stdout) {
			return errors.New("standard output is closed; nothing was changed: the Secret goes there, to | kubectl replace -f -")
		}
		if _, err := d.stdout.Write(text); err != nil {
			return fmt.Errorf("writing the Secret to standard output: %w", err)
		}
		return nil
	}, warnings, nil
}

// with returns the document with edits[i] made in the i-th Secret, and without
// kubectl's last-applied-configuration in any of them. Where neither changes
// anything it is the text that was parsed.
func (d *secrets) with(edits []content.KeyEdit) ([]byte, error) {
	changed := false
	var items []object
	for i, edit := range edits {
		_, annotated := d.all[i].annotations[lastApplied]
		changed = changed || annotated || len(edit) > 0
		item, err := d.all[i].with(edit)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if !changed {
		return d.text, nil
	}
	top := items[0]
	if d.isList {
		top = maps.Clone(d.top)
		if err := set(top, "items", items); err != nil {
			return nil, err
		}
	}
	out, err := encode(top)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Indent(&b, out, "", "    ") // as kubectl does
	b.WriteByte('\n')
	return b.Bytes(), err
}

// with returns the Secret with edit made, in data alone: what stringData says of
// the same keys goes.
func (s *secret) with(edit content.KeyEdit) (object, error) {
	top, data, stringData := maps.Clone(s.top), joined(s.data, nil), maps.Clone(s.stringData)
	var errs []error
	for key, value := range edit {
		delete(stringData, key)
		delete(data, key)
		if value != nil {
			errs = append(errs, set(data, key, value))
		}
	}
	if len(edit) > 0 {
		errs = append(errs, set(top, "data", data))
		if stringData != nil {
			errs = append(errs, set(top, "stringData", stringData))
		}
	}
	if _, annotated := s.annotations[lastApplied]; annotated {
		meta, annotations := maps.Clone(s.meta), maps.Clone(s.annotations)
		delete(annotations, lastApplied)
		errs = append(errs, set(meta, "annotations", annotations), set(top, "metadata", meta))
	}
	return top, errors.Join(errs...)
}

func set(in object, name string, value any) (err error) {
	in[name], err = encode(value)
	return err
}

// encode returns v as JSON in one line. Text within v stays as it is.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
