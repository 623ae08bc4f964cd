package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A parser reads one file of realms and collects the errors in it.
type parser struct {
	path   string
	log    *slog.Logger // for the agents
	errors []string
}

func (p *parser) fail(line int, format string, args ...any) {
	p.errors = append(p.errors, fmt.Sprintf("%s:%d: ", p.path, line)+fmt.Sprintf(format, args...))
}

// root returns the only document in data, or nil after an error.
func (p *parser) root(data []byte) *yaml.Node {
	var doc, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]) {
		p.fail(1, "it is empty; it needs %s with at least one realm", keyRealms)
		return nil
	}
	if err == nil {
		err = d.Decode(&second)
	}
	switch {
	case err == nil:
		p.fail(max(second.Line, 1), "a second document begins; the file must hold only one")
	case !errors.Is(err, io.EOF):
		p.syntaxError(err)
	default:
		return doc.Content[0]
	}
	return nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntaxError reports an error of the YAML library. The texts of the library are fixed,
// except that one quotes the name of an anchor.
func (p *parser) syntaxError(err error) {
	line, what := 1, "it cannot be read"
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		what = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	if strings.Contains(what, "anchor") {
		what = "an alias to no anchor"
	}
	p.fail(line, "it is not YAML: %s; indent with spaces, and quote values that contain ':' or '#'", what)
}

// aliasHint returns how to do without an alias, if n is one.
func aliasHint(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		return "; aliases are not read, so put settings that realms share under " + keyDefaults
	}
	return ""
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// entries iterates over the keys and values of a mapping called where.
func (p *parser) entries(n *yaml.Node, where string) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			p.fail(n.Line, "%s: it must be a mapping of lines 'key: value'%s", where, aliasHint(n))
			return
		}
		lines := make(map[string]int)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				p.fail(key.Line, "%s: a key must be a plain word", where)
			} else if first, twice := lines[key.Value]; twice {
				p.fail(key.Line, "%s: a key is repeated; the first is on line %d", where, first)
			} else if lines[key.Value] = key.Line; !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

// values returns the values of n: one, or if isList is set one or more. It returns nil
// after an error.
func (p *parser) values(n *yaml.Node, where string, isList bool) (values []string) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	problem := ""
	switch {
	case n.Kind == yaml.SequenceNode && !isList:
		problem = "it takes one value, not a list"
	case len(nodes) == 0:
		problem = "the list is empty; leave the key out"
	}
	for _, v := range nodes {
		if problem != "" {
			break
		}
		n = v
		switch {
		case v.Kind != yaml.ScalarNode:
			problem = "it must be a plain value" + aliasHint(v)
		case isNull(v):
			problem = "it has no value; give it one, or leave the key out"
		case !slices.Contains([]string{"!!str", "!!int", "!!bool", "!!float"}, v.Tag):
			problem = "it must be text, a number, true or false; put it in quotes"
		case IsEmpty(v.Value):
			problem = "it is empty; give it a value, or leave the key out"
		case isList && IsEmptyElement(v.Value):
			problem = "it has an empty element; write a list such as [a, b]"
		}
		values = append(values, v.Value)
	}
	if problem != "" {
		p.fail(n.Line, "%s: %s", where, problem)
		return nil
	}
	return values
}

// IsEmpty reports whether a value is empty. The rule is the same for keys, flags and
// environment variables.
func IsEmpty(value string) bool { return strings.TrimSpace(value) == "" }

// IsEmptyElement reports whether an element of a list is empty, or begins or ends with a
// comma. The comma is a sign that the list lost an element.
func IsEmptyElement(value string) bool {
	value = strings.TrimSpace(value)
	return value == "" || strings.HasPrefix(value, ",") || strings.HasSuffix(value, ",")
}
