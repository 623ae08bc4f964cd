package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-multierror"
	"go.yaml.in/yaml/v3"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/option"
)

// The keys of a file of realms, beside those of a realm.
const (
	keyRealms   = "realms"
	keyDefaults = "defaults"
	keyDefault  = "default-realm"
	keyPaths    = "paths"
)

// ParseFile reads the YAML of a file of realms. Paths in it are relative to the
// directory of path. The error lists everything that is wrong, each with its line and
// its fix, ten at most, and quotes no value.
func ParseFile(path string, data []byte, log *slog.Logger) (*realm.Plan, error) {
	p := &parser{path: path}
	plan := &realm.Plan{Paths: true}
	if root := p.root(data); root != nil {
		p.document(plan, root, log)
	}
	if len(p.errors) == 0 {
		return plan, nil
	}
	const most = 10
	if more := len(p.errors) - most; more > 0 {
		p.errors = append(p.errors[:most], fmt.Sprintf("and %d more", more))
	}
	return nil, errors.New(strings.Join(p.errors, "\n"))
}

type parser struct {
	path   string
	errors []string
}

func (p *parser) fail(line int, format string, args ...any) {
	p.errors = append(p.errors, fmt.Sprintf("%s:%d: ", p.path, line)+fmt.Sprintf(format, args...))
}

// root returns the content of the one document that data holds, or nil after an error.
func (p *parser) root(data []byte) *yaml.Node {
	var doc, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	err := d.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 1 && isNull(doc.Content[0]):
		p.fail(1, "it is empty; it needs %s with at least one", keyRealms)
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	if err = d.Decode(&second); err == nil {
		p.fail(max(second.Line, 1), "a second document begins; one file holds one")
		return nil
	}
	if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil
	}
	if n := anchored(&doc); n != nil {
		p.fail(n.Line, "anchors and aliases are not read; what realms have in common goes under %s", keyDefaults)
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntax reports an error of the YAML library. Its texts are fixed, except that one
// quotes the name of an anchor.
func (p *parser) syntax(err error) {
	line, what := 1, "it cannot be read"
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		if what = m[2]; strings.Contains(what, "anchor") {
			what = "an alias to no anchor"
		}
	}
	p.fail(line, "it is not YAML: %s; indent by blanks, and put what holds ':' or '#' in quotes", what)
}

// anchored returns the first anchor or alias in n, or nil.
func anchored(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return n
	}
	for _, child := range n.Content {
		if found := anchored(child); found != nil {
			return found
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// entries iterates over the keys and values of a mapping called where.
func (p *parser) entries(n *yaml.Node, where string) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			p.fail(n.Line, "%s: it must be a mapping, of lines 'key: value'", where)
			return
		}
		lines := make(map[string]int)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				p.fail(key.Line, "%s: a key must be a plain word", where)
			} else if first, twice := lines[key.Value]; twice {
				p.fail(key.Line, "%s: a key comes twice; the first is on line %d", where, first)
			} else if lines[key.Value] = key.Line; !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

// values returns the scalars of n: one, or if list is set one or more. It returns nil
// after an error.
func (p *parser) values(n *yaml.Node, where string, list bool) (out []string) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
		switch {
		case !list:
			p.fail(n.Line, "%s: it takes one value, not a list", where)
			return nil
		case len(nodes) == 0:
			p.fail(n.Line, "%s: the list is empty; leave the key out", where)
		}
	}
	for _, v := range nodes {
		problem := ""
		switch {
		case v.Kind != yaml.ScalarNode:
			problem = "it must be a plain value"
		case isNull(v):
			problem = "it has no value; give it one, or leave the key out"
		case !slices.Contains([]string{"!!str", "!!int", "!!bool", "!!float"}, v.Tag):
			problem = "it must be text, a number, true or false; put it in quotes"
		case IsEmpty(v.Value):
			problem = "it is empty; give it a value, or leave the key out"
		case list && IsEmptyElement(v.Value):
			problem = "it has an empty element; write a list, as in [a, b]"
		}
		if problem != "" {
			p.fail(v.Line, "%s: %s", where, problem)
			return nil
		}
		out = append(out, v.Value)
	}
	return out
}

// IsEmpty reports whether a value says nothing. The rule is the same for keys, flags
// and environment variables.
func IsEmpty(value string) bool { return strings.TrimSpace(value) == "" }

// IsEmptyElement reports whether a value of a list says nothing, or begins or ends
// with a comma, as a list does that lost an element.
func IsEmptyElement(value string) bool {
	value = strings.TrimSpace(value)
	return value == "" || strings.HasPrefix(value, ",") || strings.HasSuffix(value, ",")
}

func (p *parser) document(plan *realm.Plan, root *yaml.Node, log *slog.Logger) {
	known := []string{keyDefault, keyDefaults, keyPaths, keyRealms}
	top := make(map[string]*yaml.Node)
	for key, value := range p.entries(root, "the file") {
		if top[key.Value] = value; !slices.Contains(known, key.Value) {
			p.unknownKey(key, "the file", known)
		}
	}
	if n := top[keyPaths]; n != nil {
		if v := p.values(n, keyPaths, false); v != nil {
			if plan.Paths = v[0] == "true"; !plan.Paths && v[0] != "false" {
				p.fail(n.Line, "%s: it must be true or false", keyPaths)
			}
		}
	}
	var defaults []setting
	if n := top[keyDefaults]; n != nil {
		defaults = p.settings(n, keyDefaults)
	}
	if top[keyRealms] == nil {
		p.fail(root.Line, "%s is missing; it holds the realms by name", keyRealms)
		return
	}
	lines := p.realms(plan, top[keyRealms], defaults, log)
	n := top[keyDefault]
	if n == nil {
		return
	}
	if v := p.values(n, keyDefault, false); v != nil {
		if plan.Default = v[0]; lines[plan.Default] == 0 {
			hint := ""
			if near := Nearest(plan.Default, slices.Sorted(maps.Keys(lines))); near != "" {
				hint = "; did you mean " + near + "?"
			}
			p.fail(n.Line, "%s: there is no realm of that name%s", keyDefault, hint)
		}
	}
}

// unknownKey quotes the key only if it is nearly a known one: any other may be a
// token that was pasted there.
func (p *parser) unknownKey(key *yaml.Node, where string, known []string) {
	if near := Nearest(key.Value, known); near != "" {
		p.fail(key.Line, "%s: unknown key %s; did you mean %s?", where, key.Value, near)
		return
	}
	p.fail(key.Line, "%s: unknown key; there are %s", where, strings.Join(known, ", "))
}

// A setting is one key of a realm, or of the defaults, with its values.
type setting struct {
	*Field

	values []string
	line   int
}

// settings reads a realm or the defaults.
func (p *parser) settings(n *yaml.Node, where string) (out []setting) {
	for key, value := range p.entries(n, where) {
		i := slices.IndexFunc(Fields, func(f Field) bool { return f.Name == key.Value && !f.FlagOnly })
		if i < 0 {
			p.unknownKey(key, where, RealmKeys())
			continue
		}
		f := &Fields[i]
		if where == keyDefaults && f.Own {
			p.fail(key.Line, "%s: %s is each realm's own; put it there", where, f.Name)
			continue
		}
		name := where + "." + f.Name
		s := setting{f, p.values(value, name, f.List), key.Line}
		if s.values == nil {
			continue
		}
		scratch := Defaults()
		if err := scratch.set(s, ""); err != nil {
			p.fail(key.Line, "%s: %s", name, err)
			continue
		}
		out = append(out, s)
	}
	return out
}

// set applies s. Relative paths are those in directory dir. The error says what form
// the value must have, and does not quote it.
func (r *Realm) set(s setting, dir string) error {
	r.Given[s.Name] = s.line
	flag := s.flag(r).Value
	for _, value := range s.values {
		if s.Path {
			if !filepath.IsAbs(value) {
				value = filepath.Join(dir, value)
			}
			value = filepath.Clean(value)
		}
		if s.Form != nil {
			var err error
			if value, err = s.Form(value); err != nil {
				return err
			}
		}
		if flag.Set(value) != nil {
			return errors.New("it must be " + forms[flag.Type()])
		}
	}
	return nil
}

// forms describes a value of each type of pflag.
var forms = map[string]string{ //nolint:gochecknoglobals // a constant
	"duration": "a duration such as 90s, 15m or 24h", "bool": "true or false", "int": "a whole number",
}

// realmName is the form of a realm's name, which appears in paths and metrics.
var realmName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,57}$`)

// keysSuffix follows the name of a realm in the name of its key source, if the realm
// has tokens, too.
const keysSuffix = ".keys"

// realms adds the realms in n to the plan and returns the line of each.
func (p *parser) realms(plan *realm.Plan, n *yaml.Node, defaults []setting, log *slog.Logger) map[string]int {
	lines := make(map[string]int)
	owners := make(map[string]string) // of what two realms cannot share
	for key, value := range p.entries(n, keyRealms) {
		name := key.Value
		if !realmName.MatchString(name) {
			p.fail(key.Line, "%s: a name must be letters, digits, '.', '_' or '-', at most 58, and begin with a letter or digit", keyRealms)
			continue
		}
		if strings.HasSuffix(name, keysSuffix) {
			p.fail(key.Line, "%s: a name must not end in %s, as the source of keys of another realm is called; choose another", keyRealms, keysSuffix)
			continue
		}
		lines[name] = key.Line
		if r := p.realm(key, value, defaults); r != nil {
			p.claim(owners, r)
			plan.Specs = append(plan.Specs, realm.Spec{Name: name, Hosts: r.Hosts, Headers: r.Headers, Config: r.Agent(log)})
		}
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.fail(n.Line, "%s is empty; it needs at least one", keyRealms)
	}
	return lines
}

// realm returns the configuration of one realm, or nil after an error.
func (p *parser) realm(key, value *yaml.Node, defaults []setting) *Realm {
	r, before := Defaults(), len(p.errors)
	where, dir := keyRealms+"."+key.Value, filepath.Dir(p.path)
	for _, s := range p.settings(value, where) {
		_ = r.set(s, dir) // settings has checked it
	}
	for _, s := range defaults {
		if _, given := r.Given[s.Name]; !given && r.has(s.Needs) {
			_ = r.set(s, dir)
		}
	}
	// A source has the name of its realm, which is also the subject of callers with a
	// shared token. If there are two sources, the one of keys has another name.
	r.Name, r.Source.Name, r.Keys.Name = key.Value, key.Value, key.Value+keysSuffix
	if !r.Source.Given() {
		r.Source.Name, r.Keys.Name = key.Value+".none", key.Value
	}
	if len(p.errors) > before {
		return nil
	}
	err, ok := errors.AsType[*multierror.Error](r.Validate(InRealm))
	if !ok {
		return &r
	}
	for _, e := range err.Errors {
		line := 0 // of the first setting that the error names
		text := option.Text(e, func(name string) string {
			if line == 0 {
				line = r.Given[name]
			}
			return option.Key(name)
		})
		if line == 0 {
			line = key.Line
		}
		p.fail(line, "%s: %s", where, text)
	}
	return nil
}

// claim reports what r has and another realm has already.
func (p *parser) claim(owners map[string]string, r *Realm) {
	claim := func(name, kind, value, fix string) {
		if owner, taken := owners[name+" "+value]; taken {
			p.fail(r.Given[name], "%s.%s: realm %s has this %s already; %s", keyRealms, r.Name, owner, kind, fix)
			return
		}
		owners[name+" "+value] = r.Name
	}
	for _, host := range r.Hosts {
		claim("hosts", "host", host, "a host is one realm's alone")
	}
	if file := r.Rotation.StateFile; file != "" {
		claim("state-file", "state-file", file, "give each a file of its own")
	}
}
