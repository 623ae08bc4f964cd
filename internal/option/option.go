// Package option spells the name of a setting in an error as the reader wrote it: as a
// flag on the command line, a key in a file of realms, or a field of agent.Config in the
// library.
package option

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A Spelling returns how errors write a setting. name is the name of its flag, without the
// leading dashes.
type Spelling func(name string) string

// Flag spells a setting as on the command line: --token-file.
func Flag(name string) string { return "--" + name }

// Key spells a setting as in a file of realms: token-file.
func Key(name string) string { return name }

// fields are the fields of the library that are not named after their flags.
var fields = map[string]string{ //nolint:gochecknoglobals,gosec // a constant; names, not credentials
	"poll-interval": "Config.Poll", "allow-client": "Config.AllowClients", "jwt-cache": "Config.JWTCache",
	"key-name": "Issuer.Name", "key-file": "Issuer.KeyFile", "jwks-url": "Issuer.JWKSURL", "key-algorithm": "Issuer.KeyAlgorithm",
	"jwks-ca-file": "Issuer.JWKS.CAFile", "jwks-bearer-file": "Issuer.JWKS.BearerFile", "max-stale": "Issuer.JWKS.MaxStale",
	"kubernetes": "Issuer.Kubernetes", "token-review": "Issuer.TokenReview",
	"issuer": "Issuer.JWT.Issuer", "audience": "Issuer.JWT.Audiences", "algorithm": "Issuer.JWT.Algorithms", "jwt-type": "Issuer.JWT.Types",
	"require-claim": "Issuer.JWT.RequiredClaims", "leeway": "Issuer.JWT.Leeway", "allow-missing-issuer": "Issuer.JWT.AllowMissingIssuer",
	"trust-domain": "Issuer.JWT.TrustDomain",
}

// Field spells a setting as a field of the library: Config.TokenFile.
func Field(name string) string {
	if field, ok := fields[name]; ok {
		return field
	}
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return "Config." + b.String()
}

// An Error is an error about settings.
type Error struct {
	format   string
	args     []any
	spelling Spelling // for the method Error
}

// Errorf formats an error. In format, {token-file} stands for the setting of that name.
// Error spells it by s, and [Text] by another spelling.
func Errorf(s Spelling, format string, args ...any) error {
	return &Error{format, args, s}
}

// Error returns the text in the spelling that Errorf was given.
func (e *Error) Error() string { return e.spell(e.spelling).Error() }

// Unwrap returns the error of %w in the format.
func (e *Error) Unwrap() error { return errors.Unwrap(e.spell(e.spelling)) }

var name = regexp.MustCompile(`\{([a-z][a-z-]*)\}`)

func (e *Error) spell(s Spelling) error {
	return fmt.Errorf(name.ReplaceAllStringFunc(e.format, func(n string) string { return s(n[1 : len(n)-1]) }), e.args...)
}

// An IssuerError is an error about the settings of an issuer.
type IssuerError struct {
	Number int  // of the issuer, from 1
	Only   bool // whether there is no other issuer; Error then leaves Number out
	Err    error
}

// Error returns the text of Err and, if there are several issuers, the number.
func (e *IssuerError) Error() string {
	if e.Only {
		return e.Err.Error()
	}
	return fmt.Sprintf("issuer %d: %v", e.Number, e.Err)
}

// Unwrap returns Err.
func (e *IssuerError) Unwrap() error { return e.Err }

// Text returns the text of err. It spells the settings of every [Error] in err by s.
func Text(err error, s Spelling) string {
	text := err.Error()
	each(err, func(e *Error) { text = strings.Replace(text, e.Error(), e.spell(s).Error(), 1) })
	return text
}

// each calls f for every Error that err is or wraps.
func each(err error, f func(*Error)) {
	switch e := err.(type) { //nolint:errorlint // each calls itself for the wrapped errors
	case nil:
	case *Error:
		f(e)
	case interface{ WrappedErrors() []error }: // go-multierror, whose Unwrap is a chain
		for _, err := range e.WrappedErrors() {
			each(err, f)
		}
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			each(err, f)
		}
	case interface{ Unwrap() error }:
		each(e.Unwrap(), f)
	}
}

// OneLine joins errs on one line. It is a go-multierror ErrorFormat; the default one needs
// a line for each error.
func OneLine(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}
