package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/pflag"
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
			return errors.New("it must be " + Form(flag))
		}
	}
	return nil
}

// Form describes the values that v accepts.
func Form(v pflag.Value) string {
	switch v.Type() {
	case "duration":
		return "a duration such as 90s, 15m or 24h"
	case "bool":
		return "true or false"
	case "int":
		return "a whole number"
	default:
		return v.Type()
	}
}

// realmName is the form of a realm's name, which appears in paths and metrics.
var realmName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,57}$`)

// keysSuffix follows the name of a realm in the name of its key source, if the realm
// has tokens, too.
const keysSuffix = ".keys"

// realms adds the realms in n to the plan and returns the line of each.
func (p *parser) realms(plan *realm.Plan, n *yaml.Node, defaults []setting, log *slog.Logger) map[string]int {
	lines := make(map[string]int)
	owners := make(map[string]string) // names of realms, by what only one can have
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
			p.checkShared(owners, r)
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

// checkShared reports what r shares with an earlier realm and must not.
func (p *parser) checkShared(owners map[string]string, r *Realm) {
	take := func(setting, kind, value, fix string) {
		if owner, taken := owners[kind+" "+value]; taken {
			p.fail(r.Given[setting], "%s.%s: realm %s has this %s already; %s", keyRealms, r.Name, owner, kind, fix)
			return
		}
		owners[kind+" "+value] = r.Name
	}
	for _, host := range r.Hosts {
		take("hosts", "host", host, "a host is one realm's alone")
	}
	if file := r.Rotation.StateFile; file != "" {
		take("state-file", "state-file", file, "give each a file of its own")
	}
}
