package realmfile

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
)

// document reads the whole.
func (p *parser) document(d *Document, root *yaml.Node) {
	var realms, defaults, fallback *entry
	for _, e := range p.entries(root, "the file") {
		switch e.key {
		case keyRealms:
			realms = &e
		case keyDefaults:
			defaults = &e
		case keyDefault:
			fallback = &e
		case keyPaths:
			if v, ok := p.texts(e.value, e.key, false); ok {
				if d.Paths = v[0] == "true"; !d.Paths && v[0] != "false" {
					p.fault(e.line, "%s: it must be true or false", e.key)
				}
			}
		default:
			p.unknown(e, "the file", []string{keyRealms, keyDefaults, keyDefault, keyPaths})
		}
	}
	var common []Setting
	if defaults != nil {
		common = p.settings(defaults.value, keyDefaults, true)
	}
	if realms == nil {
		p.fault(root.Line, "%s is missing; it holds the realms by name", keyRealms)
		return
	}
	p.realms(d, realms, common)
	if fallback != nil {
		if v, ok := p.texts(fallback.value, keyDefault, false); ok {
			d.Default = v[0]
			if _, there := p.lines[d.Default]; !there {
				p.fault(fallback.line, "%s: there is no realm of that name%s", keyDefault, p.nearRealm(d.Default))
			}
		}
	}
}

// NameForm is what the name of a realm looks like: it stands in a path, and in
// metrics.
var NameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,57}$`)

// keysSuffix is behind the name of a realm in that of its source of keys, where it
// has tokens, too.
const keysSuffix = ".keys"

func (p *parser) realms(d *Document, e *entry, common []Setting) {
	p.lines = make(map[string]int)
	for _, r := range p.entries(e.value, keyRealms) {
		if !NameForm.MatchString(r.key) {
			p.fault(r.line, "%s: a name must be letters, digits, '.', '_' or '-', at most 58, and begin with a letter or digit", keyRealms)
			continue
		}
		if strings.HasSuffix(r.key, keysSuffix) {
			p.fault(r.line, "%s: a name must not end in %s, as the source of keys of another realm is called; choose another", keyRealms, keysSuffix)
			continue
		}
		p.lines[r.key] = r.line
		where := keyRealms + "." + r.key
		realm := Realm{Name: r.key, Line: r.line, Settings: p.settings(r.value, where, false)}
		for _, s := range common {
			if !slices.ContainsFunc(realm.Settings, func(own Setting) bool { return own.Name == s.Name }) {
				realm.Settings = append(realm.Settings, s)
			}
		}
		d.Realms = append(d.Realms, realm)
	}
	if e.value.Kind == yaml.MappingNode && len(e.value.Content) == 0 {
		p.fault(e.line, "%s is empty; it needs at least one", keyRealms)
	}
}

// settings reads a realm, or what realms have in common.
func (p *parser) settings(n *yaml.Node, where string, common bool) (out []Setting) {
	for _, e := range p.entries(n, where) {
		i := slices.IndexFunc(p.known, func(k config.Field) bool { return k.Name == e.key })
		switch {
		case i < 0:
			names := make([]string, len(p.known))
			for i, k := range p.known {
				names[i] = k.Name
			}
			p.unknown(e, where, names)
		case common && p.known[i].Own:
			p.fault(e.line, "%s: %s is each realm's own; put it there", where, e.key)
		default:
			if v, ok := p.texts(e.value, where+"."+e.key, p.known[i].List); ok {
				out = append(out, Setting{Field: &p.known[i], Values: v, Line: e.line, Common: common})
			}
		}
	}
	return out
}

// unknown tells of a key that there is none of. It is quoted only where it is
// near to one: what is nowhere near may be a token that went astray.
func (p *parser) unknown(e entry, where string, names []string) {
	if near := Nearest(e.key, names); near != "" {
		p.fault(e.line, "%s: unknown key %s; did you mean %s?", where, e.key, near)
		return
	}
	p.fault(e.line, "%s: unknown key; there are %s", where, strings.Join(slices.Sorted(slices.Values(names)), ", "))
}

func (p *parser) nearRealm(name string) string {
	var names []string
	for n := range p.lines {
		names = append(names, n)
	}
	slices.Sort(names)
	if near := Nearest(name, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// Nearest returns that of names which word was probably meant to be, and "" for
// none: the same letters in other case or with other dashes, or at most two letters
// wrong, in a word of printable ASCII.
func Nearest(word string, names []string) (best string) {
	if len(word) > 40 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	bare := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	least := 3
	for _, name := range names {
		if d := distance(bare(word), bare(name)); d < least && d < len(bare(name))/2+1 {
			best, least = name, d
		}
	}
	return best
}

// distance is how many letters must be added, taken away or changed to make b of
// a (V. I. Levenshtein, 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
