// Package realmfile reads the configuration file of many realms: YAML, and
// strictly. What each key means is for others; here stands which there are, and
// on which line.
package realmfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-multierror"
	"go.yaml.in/yaml/v3"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
)

// A Document is a file without faults, of its own form.
type Document struct {
	Realms  []Realm // in the order of the file; at least one
	Default string  // the realm of requests that name none; "" for none
	Paths   bool    // whether a path can name a realm
}

// A Realm is one entry of realms, with the defaults for what it leaves out.
type Realm struct {
	Name     string
	Line     int       // on which it begins
	Settings []Setting // its own come first
}

// A Setting is one key with what stands there, as text.
type Setting struct {
	*config.Field

	Values []string // one, unless the key takes a list
	Line   int
	Common bool // from defaults
}

// The keys beside those of realms.
const (
	keyRealms   = "realms"
	keyDefaults = "defaults"
	keyDefault  = "default-realm"
	keyPaths    = "paths"
)

// Parse reads data, which is called name in errors. The error names every fault with
// its line and its mend, ten at most, and quotes no value.
func Parse(name string, data []byte) (*Document, error) {
	p := &parser{name: name, known: config.RealmKeys()}
	d := &Document{Paths: true}
	if root := p.root(data); root != nil {
		p.document(d, root)
	}
	if p.faults != nil {
		p.faults.ErrorFormat = Lines
		return nil, p.faults
	}
	return d, nil
}

type parser struct {
	name   string
	known  []config.Field
	faults *multierror.Error
	lines  map[string]int // of realms, by name
}

// fault notes what is wrong on a line.
func (p *parser) fault(line int, format string, args ...any) {
	p.faults = multierror.Append(p.faults, Fault(p.name, line, format, args...))
}

// Fault returns an error that says where in file name something is wrong.
func Fault(name string, line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", name, line, fmt.Errorf(format, args...))
}

// Lines joins faults one a line, since each begins with its place.
func Lines(errs []error) string {
	const most = 10
	var b strings.Builder
	for i, err := range errs {
		if i == most {
			fmt.Fprintf(&b, "\nand %d more", len(errs)-most)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

// root returns the mapping that the file is, and nil after a fault.
func (p *parser) root(data []byte) *yaml.Node {
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 1 && isNull(doc.Content[0]):
		p.fault(1, "it is empty; it needs %s with at least one", keyRealms)
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	if err := d.Decode(&more); err == nil {
		p.fault(max(more.Line, 1), "a second document begins; one file holds one")
		return nil
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntax tells a fault of the YAML itself. The words of the library are fixed but
// for the name of an anchor.
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
	p.fault(line, "it is not YAML: %s; indent by blanks, and put what holds ':' or '#' in quotes", what)
}

// An entry is one key of a mapping and what stands there.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// entries returns those of a mapping called where, of which each key comes once.
func (p *parser) entries(n *yaml.Node, where string) (out []entry) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		p.fault(n.Line, "%s: anchors and aliases are not read; what realms have in common goes under %s", where, keyDefaults)
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.fault(n.Line, "%s: it must be a mapping, of lines 'key: value'", where)
		return nil
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			p.fault(k.Line, "%s: a key must be a plain word", where)
			continue
		}
		if first, twice := seen[k.Value]; twice {
			p.fault(k.Line, "%s: a key comes twice; the first is on line %d", where, first)
			continue
		}
		seen[k.Value] = k.Line
		out = append(out, entry{k.Value, k.Line, n.Content[i+1]})
	}
	return out
}

// texts returns the scalars that n is: one, or where a list may stand several.
func (p *parser) texts(n *yaml.Node, where string, list bool) ([]string, bool) {
	all := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		all = n.Content
		switch {
		case !list:
			p.fault(n.Line, "%s: it takes one value, not a list", where)
			return nil, false
		case len(all) == 0:
			p.fault(n.Line, "%s: the list is empty; leave the key out", where)
			return nil, false
		}
	}
	var out []string
	for _, v := range all {
		switch {
		case v.Kind == yaml.AliasNode || v.Anchor != "":
			p.fault(v.Line, "%s: anchors and aliases are not read; what realms have in common goes under %s", where, keyDefaults)
		case v.Kind != yaml.ScalarNode:
			p.fault(v.Line, "%s: it must be a plain value", where)
		case isNull(v):
			p.fault(v.Line, "%s: it has no value; give it one, or leave the key out", where)
		case !slices.Contains([]string{"!!str", "!!int", "!!bool", "!!float"}, v.Tag):
			p.fault(v.Line, "%s: it must be text, a number, true or false; put it in quotes", where)
		case Empty(v.Value):
			p.fault(v.Line, "%s: it is empty; give it a value, or leave the key out", where)
		case list && EmptyElement(v.Value):
			p.fault(v.Line, "%s: it has an empty element; write a list, as in [a, b]", where)
		default:
			out = append(out, v.Value)
			continue
		}
		return nil, false
	}
	return out, true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// Empty reports whether a value says nothing. It is the rule for flags and for
// variables of the environment as well.
func Empty(value string) bool { return strings.TrimSpace(value) == "" }

// EmptyElement reports whether a value of a list says nothing, or begins or ends
// with a comma, as a list does that lost an element.
func EmptyElement(value string) bool {
	value = strings.TrimSpace(value)
	return value == "" || strings.HasPrefix(value, ",") || strings.HasSuffix(value, ",")
}
