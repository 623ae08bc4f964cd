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

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// maxSecrets bounds what is read from standard input, in bytes. The API server takes
// 1 MiB of values in one Secret (https://kubernetes.io/docs/concepts/configuration/secret/).
const maxSecrets = 16 << 20

// An object is a JSON object whose members keep the text of their values. Names of members
// match exactly, as at the API server; encoding/json ignores their case in structs.
type object = map[string]json.RawMessage

// secrets are a Kubernetes Secret as JSON, or a List of them. Members that tokenagent does
// not know keep their values.
type secrets struct {
	text []byte
	list object    // the List; nil for a single Secret
	all  []*secret // at least one

	sources []content.Source
	stdout  io.Writer
}

// A secret is a Kubernetes Secret.
type secret struct {
	top, data, stringData object
	metadata              object
	keys                  map[string][]byte // those that agents read, as the API server merges them

	name      string // namespace and name, safe for a terminal
	immutable bool
	meta      meta
}

// meta is what matters of the metadata of a Secret.
type meta struct {
	Name, Namespace, ResourceVersion, DeletionTimestamp string

	Labels, Annotations map[string]string
	OwnerReferences     []struct {
		Kind       string
		Controller bool
	}
	ManagedFields []fieldManager
}

var (
	errNotJSON   = errors.New("standard input is not one JSON document; pipe the answer of kubectl get secret NAME -o json")
	errNotSecret = errors.New("standard input is no Kubernetes Secret (apiVersion v1, kind Secret) and no List of them; pipe the answer of kubectl get secret NAME -o json")
)

func (o Options) openSecrets(ctx context.Context) (Store, error) {
	if stdin.Terminal(o.Stdin) {
		return nil, exitcode.Usage("PATH is missing, and no Secret comes on standard input; give the file or directory, or pipe a Secret: " +
			"kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -")
	}
	text, err := stdin.Read(ctx, o.Stdin, o.Stderr, "the Secret", maxSecrets)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("standard input is empty; pipe the answer of kubectl get secret NAME -o json, or give a PATH")
	}
	d, err := parseSecrets(text)
	if err != nil {
		return nil, err
	}
	d.stdout = o.Stdout
	for i, s := range d.all {
		o.Read.Name, o.Read.All = "secret "+s.name, keysOf(s.data, s.stringData)
		if o.Change && s.immutable {
			return nil, fmt.Errorf("%s is immutable, and the API server refuses any change; create a new Secret under another name and mount that one", o.Read.Name)
		}
		source, err := content.Parse(s.keys, "", o.Read)
		switch {
		case err != nil:
			return nil, err
		case i > 0 && source.Kind != d.sources[0].Kind:
			return nil, exitcode.Usage("some Secrets of the list have tokens and others verification keys; say which with --kind tokens or --kind keys")
		}
		d.sources = append(d.sources, source)
	}
	return d, nil
}

// parseSecrets parses text. Its errors quote nothing of it.
func parseSecrets(text []byte) (*secrets, error) {
	if len(text) > maxSecrets {
		return nil, fmt.Errorf("standard input is over %d bytes, too much for Secrets; pipe the answer of kubectl get secret NAME -o json", maxSecrets)
	}
	var top object
	if !utf8.Valid(text) || json.Unmarshal(text, &top) != nil || top == nil {
		return nil, errNotJSON
	}
	if _, err := strictjson.Check(text); err != nil {
		return nil, errors.New("a JSON object on standard input names a member twice, and programs differ in which one counts, or is nested too deep; pipe the answer of kubectl get secret NAME -o json unchanged")
	}
	d := &secrets{text: text}
	items := []object{top}
	if isKind(top, "List") {
		d.list, items = top, nil
		if json.Unmarshal(top["items"], &items) != nil {
			return nil, errNotSecret
		}
		if len(items) == 0 {
			return nil, errors.New("the list on standard input is empty; no Secret has the name or the labels that kubectl was asked for")
		}
	}
	for i, item := range items {
		switch {
		case isKind(item, "Secret"):
		case d.list != nil:
			return nil, fmt.Errorf("item %d of the list on standard input is no Kubernetes Secret; list Secrets alone", i+1)
		default:
			return nil, errNotSecret
		}
		s, err := parseSecret(item)
		if err != nil {
			return nil, err
		}
		d.all = append(d.all, s)
	}
	return d, nil
}

// isKind reports whether o is a Kubernetes object of apiVersion v1 and of the kind.
func isKind(o object, kind string) bool {
	var version, is string
	return read(o, "apiVersion", &version) && read(o, "kind", &is) && version == "v1" && is == kind
}

// read decodes the member name of o, if there is one, and reports whether that worked.
func read(o object, name string, value any) bool {
	raw, there := o[name]
	return !there || json.Unmarshal(raw, value) == nil
}

func parseSecret(top object) (*secret, error) {
	s := &secret{top: top, keys: map[string][]byte{}}
	const form = "the Secret's %s has not the form that Kubernetes gives it; pipe the answer of kubectl get secret NAME -o json unchanged"
	switch {
	case !read(top, "immutable", &s.immutable):
		return nil, fmt.Errorf(form, "immutable")
	case !read(top, "metadata", &s.metadata) || !read(top, "metadata", &s.meta):
		return nil, fmt.Errorf(form, "metadata")
	}
	s.name = termsafe.Text(strings.TrimPrefix(s.meta.Namespace+"/"+s.meta.Name, "/"))
	const pairs = "secret %s: its %s is no object of keys and values; fix it (kubectl edit secret)"
	switch {
	case !read(top, "data", &s.data):
		return nil, fmt.Errorf(pairs, s.name, "data")
	case !read(top, "stringData", &s.stringData):
		return nil, fmt.Errorf(pairs, s.name, "stringData")
	}
	// The values of stringData replace those of data, as when the API server merges them.
	for _, key := range agentKeysOf(s.data, s.stringData) {
		value, text := []byte{}, ""
		switch {
		case !read(s.data, key, &value): // standard base64, or null
			return nil, fmt.Errorf("secret %s: data.%s is no base64 string; fix it (kubectl edit secret), or delete the key", s.name, key)
		case !read(s.stringData, key, &text):
			return nil, fmt.Errorf("secret %s: stringData.%s is no string; fix it, or delete the key", s.name, key)
		}
		if _, there := s.data[key]; there {
			s.keys[key] = value
		}
		if _, there := s.stringData[key]; there {
			s.keys[key] = []byte(text)
		}
	}
	return s, nil
}

// keysOf returns the names of the keys in both, sorted.
func keysOf(data, stringData object) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(data)), maps.Keys(stringData))
	slices.Sort(names)
	return slices.Compact(names)
}

// agentKeysOf returns those that agents read.
func agentKeysOf(data, stringData object) []string {
	names := content.Names("")
	return slices.DeleteFunc(keysOf(data, stringData), func(key string) bool { return !content.IsName(names, key) })
}

func (d *secrets) Sources() []content.Source { return d.sources }

func (d *secrets) Warnings(writes [][]content.Write) (all [][]string) {
	for i, s := range d.all {
		all = append(all, s.warnings(d.sources[i].After(writes[i])))
	}
	return all
}

func (d *secrets) Save(_ context.Context, writes [][]content.Write) error {
	text, err := d.edit(writes)
	switch {
	case err != nil:
		return err
	case closed(d.stdout):
		return errors.New("standard output is closed; nothing was changed: pipe the Secret on, to | kubectl replace -f -")
	}
	if _, err := d.stdout.Write(text); err != nil {
		return fmt.Errorf("writing the Secret to standard output: %w", err)
	}
	return nil
}

// edit returns the document with writes[i] made in the i-th Secret, indented as by kubectl.
// If nothing changes, it is the text that was parsed.
func (d *secrets) edit(writes [][]content.Write) ([]byte, error) {
	changed := false
	var items []object
	for i, s := range d.all {
		did, err := s.edit(writes[i])
		if err != nil {
			return nil, err
		}
		changed = changed || did
		items = append(items, s.top)
	}
	if !changed {
		return d.text, nil
	}
	top := items[0]
	if d.list != nil {
		top = d.list
		if err := set(top, "items", items); err != nil {
			return nil, err
		}
	}
	return encode(top, "    ")
}

// edit makes writes in data, takes the same keys out of stringData, and removes the
// annotation of kubectl apply. It reports whether that changes the Secret.
func (s *secret) edit(writes []content.Write) (changed bool, err error) {
	if s.data == nil {
		s.data = object{}
	}
	for _, w := range writes {
		delete(s.stringData, w.Key)
		delete(s.data, w.Key)
		if w.Value != nil {
			err = errors.Join(err, set(s.data, w.Key, w.Value))
		}
	}
	if len(writes) > 0 {
		err = errors.Join(err, set(s.top, "data", s.data))
		if s.stringData != nil {
			err = errors.Join(err, set(s.top, "stringData", s.stringData))
		}
	}
	_, applied := s.meta.Annotations[lastApplied]
	if applied {
		delete(s.meta.Annotations, lastApplied)
		err = errors.Join(err, set(s.metadata, "annotations", s.meta.Annotations), set(s.top, "metadata", s.metadata))
	}
	return applied || len(writes) > 0, err
}

func set(o object, name string, value any) (err error) {
	o[name], err = encode(value, "")
	return err
}

// encode returns value as JSON. Text in it stays as it is.
func encode(value any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(value)
	return b.Bytes(), err
}
