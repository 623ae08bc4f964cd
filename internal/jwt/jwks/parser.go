package jwks

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/position"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A parser collects the content of a source and the first error in it.
type parser struct {
	o     ParseOptions
	key   string    // the directory key that is being parsed; "" in a file
	line  int       // the line that is being parsed, from 1; 0 if none
	until time.Time // deadline of key-previous; zero if none
	got   Keys
	err   error

	byName map[name][]rotation.ID // the keys with a kid and algorithm
}

type name struct{ kid, alg string }

func newParser(o ParseOptions) *parser {
	p := &parser{o: o, byName: make(map[name][]rotation.ID)}
	if o.Algorithm != "" && !slices.Contains(jwt.Algorithms(), o.Algorithm) {
		p.fail("the algorithm for keys that name none is none of %s", strings.Join(jwt.Algorithms(), ", "))
	}
	return p
}

// fail records the first error with its position. The format and args must not contain
// the text of the source.
func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = errors.New(p.place() + ": " + fmt.Sprintf(format, args...))
	}
}

func (p *parser) place() string {
	line := p.line
	if p.o.Remote { // after a URL, the line would look like a port
		line = 0
	}
	return position.Of("key source", p.o.Name, p.key, line)
}

// result returns the content or the first error.
func (p *parser) result() (Keys, error) {
	if p.err != nil { // only the revocations of an invalid source hold
		p.got.Content = rotation.Content[jwt.Key]{Revoked: p.got.Revoked}
	}
	return p.got, p.err
}

const (
	bom   = "\xef\xbb\xbf"
	white = " \t\r\n\v\f"
)

// A form says which content a place accepts.
type form int

const (
	anything form = iota // a file: keys of any form
	oneKey               // a key of a directory: one key of any form
	aSet                 // jwks.json: a JWKS, or one JWK
)

// content parses a file, or the value of a key of a directory.
func (p *parser) content(text []byte, slot rotation.Slot, f form) {
	text = bytes.TrimPrefix(text, []byte(bom))
	start := bytes.TrimLeft(text, white)
	switch {
	case len(text) > maxBytes:
		p.fail("over 4 MiB; a key source is smaller")
	case len(start) == 0:
		p.fail("empty; put a verification key there")
	case start[0] == '{' || f == aSet || p.o.Remote:
		p.json(text, slot, f)
	case bytes.HasPrefix(start, []byte(pemBegin)):
		p.pem(text, slot, f)
	default:
		p.secret(bytes.TrimRight(start, white), slot)
	}
	p.line = 0
}

// one declares a key that is not part of a set, or records err.
func (p *parser) one(k jwt.Key, err error, slot rotation.Slot) {
	if err == nil {
		err = p.declare(k, slot, false)
	}
	if err != nil {
		p.fail("%v", err)
	}
}

// declare declares the key k. A set may hold one key with several kids and algorithms, as
// Keycloak, OpenAM and WSO2 publish them. Such a key is declared once, with all of them.
// Elsewhere a key has one kid and one algorithm, and may be declared again, as a token may.
func (p *parser) declare(k jwt.Key, slot rotation.Slot, inSet bool) error {
	as := name{k.KeyID(), k.Algorithm()}
	repeated := slices.Contains(p.byName[as], k.ID()) // k was declared before with this kid and algorithm
	before := slices.IndexFunc(p.got.Decls, func(d rotation.Decl[jwt.Key]) bool { return d.ID == k.ID() })
	switch {
	case p.o.TrustDomain != "" && !slices.Contains(jwt.SVIDAlgorithms(), k.Algorithm()):
		return errNotForSVIDs
	case len(p.got.Decls) == maxKeys:
		return fmt.Errorf("more than %d keys; remove some", maxKeys)
	case repeated && inSet:
		return nil
	case !repeated && !inSet && before >= 0:
		return errors.New("the same key as before, with another kid or algorithm; declare it once")
	case !repeated && len(p.byName[as]) > 0 && as.kid != "" && !p.o.Remote:
		return errors.New("the same kid and algorithm as another key; give each key a name of its own")
	}
	p.byName[as] = append(p.byName[as], k.ID())
	if inSet && before >= 0 {
		d := &p.got.Decls[before]
		d.Value = d.Value.Also(k)
		d.Names = d.Value.RevocableNames()
		return nil
	}
	d := rotation.Decl[jwt.Key]{ID: k.ID(), Slot: slot, Value: k, Names: k.RevocableNames()}
	if slot == rotation.Previous {
		d.Until = p.until
	}
	p.got.Decls = append(p.got.Decls, d)
	return nil
}
