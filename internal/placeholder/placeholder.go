// Package placeholder recognizes text that stands in place of a secret: a template that
// was never filled in, a reference to a secret store, or a document that holds the
// secret. Such text is often public, because it comes from a repository. If it were
// accepted as a secret, everyone who knows it would have access.
//
// A real secret must not match. Base64 (with padding), base64url, hex, UUIDs, JSON Web
// Tokens and the tokens of well-known services never match. One or two in a thousand
// random strings of all printable ASCII match, and less than one in a thousand of the
// keys that Django generates.
package placeholder

import (
	"encoding/json"
	"regexp"
	"strings"
)

// The results of Describe. They contain no byte of the text.
const (
	angle     = "a placeholder in angle brackets (<…>) that was never filled in"
	variable  = "a variable (such as ${…} or $(…)) that was never replaced"
	template  = "a template (such as {{…}}) that was never filled in"
	quoted    = "a quoted string"
	document  = "JSON"
	pem       = "PEM"
	encrypted = "an encrypted value"
	assigned  = "a line NAME=value"
	address   = "a URL or a reference to a secret store"
)

// brackets surround the placeholders of templating tools.
var brackets = []struct{ open, end, what string }{ //nolint:gochecknoglobals // a constant
	{"<", ">", angle},        // argocd-vault-plugin, documentation
	{"${", "}", variable},    // envsubst, Spring, Terraform
	{"$(", ")", variable},    // Kubernetes, make, shells
	{"{{", "}}", template},   // Go, Helm, Jinja, Mustache
	{"((", "))", template},   // Concourse, BOSH
	{"[[", "]]", template},   // Nomad and Consul with other delimiters
	{"ENC[", "]", encrypted}, // SOPS, EYAML
}

var (
	// A name in capitals, between the marks of Windows, of sed scripts, of Autoconf or
	// of format strings; or after the dollar sign of a shell.
	marked = regexp.MustCompile(`^(?:%%?[A-Z][A-Z0-9_]*%%?|__[A-Z][A-Z0-9_]*__|@@?[A-Z][A-Z0-9_]*@@?|#?\{[A-Z][A-Z0-9_]*\}#?|\$[A-Z_][A-Z0-9_]*)$`)
	// A variable within other text. Some names have a minimum length, so that few random
	// keys match.
	within = regexp.MustCompile(`\$\{[A-Za-z_][^{}]*\}|\$\([A-Za-z_][A-Za-z0-9_.-]{3,}\)|\{\{.*\}\}`)
	// The same in angle brackets.
	withinAngles = regexp.MustCompile(`<[A-Za-z][A-Za-z0-9 _.:/#|-]{7,}>`)
	// A name as people write it: four capitals or more, words that each begin with one
	// capital, or a name that contains a word such as "secret". Random base64 hardly ever
	// looks so. Small letters before a '=' are not enough: a tenth of Django's keys begin
	// like that. A second '=' would be the padding of base64.
	assignment = regexp.MustCompile(`^(?:export +|set +)?(?:[A-Z_][A-Z0-9_-]{3,}|(?:[a-z]+|[A-Z]+)?(?:-?[A-Z][a-z]{2,})+[0-9]*|` +
		`(?i:[a-z_][a-z0-9_.-]*)?(?i:token|secret|passw|pwd|key|auth|cred|bearer|value)(?i:[a-z0-9_.-]*)) *= *[^= ]`)
	// scheme://, possibly after a prefix such as jdbc:.
	url = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*(?::[A-Za-z0-9+.-]+)*://`)
	// References without slashes: Vault and OpenBao (bank-vaults), vals, the stores
	// of clouds, Spring, and Azure's app settings.
	reference = regexp.MustCompile(`^(?i:(?:vault|bao|op|arn|awssm|awsssm|ssm|gcpsm|akv|keyvault|azurekeyvault|secretsmanager|sops|doppler|file|env|secretref):[^ ]|ref\+[a-z]+:|@Microsoft\.KeyVault\(|\$ANSIBLE_VAULT;)`)
)

// Describe says what text looks like if it is not a secret. It returns "" if text may be
// a secret. text is one word, or a line whose words are separated by single blanks.
func Describe(text string) string {
	// The alphabets of base64, hex and JWTs have none of these characters.
	if !strings.ContainsAny(strings.TrimRight(text, "="), "<>()[]{}$%@:=\"'`") && !strings.HasPrefix(text, "__") && !strings.HasPrefix(text, "-----") {
		return ""
	}
	for _, b := range brackets {
		if len(text) >= len(b.open)+len(b.end) && strings.HasPrefix(text, b.open) && strings.HasSuffix(text, b.end) {
			return b.what
		}
	}
	switch {
	case marked.MatchString(text):
		return variable
	case jsonDocument(text):
		return document
	case isQuoted(text):
		return quoted
	case strings.HasPrefix(text, "-----BEGIN"):
		return pem
	case url.MatchString(text), reference.MatchString(text):
		return address
	case assignment.MatchString(text):
		return assigned
	case within.MatchString(text):
		if strings.Contains(text, "{{") {
			return template
		}
		return variable
	case withinAngles.MatchString(text):
		return angle
	}
	return ""
}

// isQuoted reports whether text is in quotes, possibly with the comma of a document.
func isQuoted(text string) bool {
	text = strings.TrimRight(text, ",;")
	return len(text) >= 2 && strings.IndexByte("\"'`", text[0]) >= 0 && text[len(text)-1] == text[0]
}

// jsonDocument reports whether text is an object or an array, or its beginning. A
// first brace is not enough: random text may begin with one.
func jsonDocument(text string) bool {
	if text == "" || text[0] != '{' && text[0] != '[' {
		return false
	}
	switch {
	case len(text) == 1, text == "[{":
		return true
	case strings.HasPrefix(text, `{"`):
		return strings.Contains(text, `":`) || strings.Contains(text, `" :`)
	default:
		return json.Valid([]byte(text))
	}
}
