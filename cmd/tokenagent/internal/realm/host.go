package realm

import (
	"errors"
	"strings"
)

// bareHost returns host in lower case, without a port and a final dot.
func bareHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host, ']') < i && digits(host[i+1:]) &&
		(strings.IndexByte(host, ':') == i || host[0] == '[') {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// CheckHost returns what a realm's host is compared as, or why it is none: a name,
// an IPv4 address, an IPv6 address in brackets, or *. and a name, which stands for
// all that end in it. The error quotes nothing.
func CheckHost(host string) (string, error) {
	name, wild := strings.CutPrefix(host, "*.")
	switch {
	case name == "":
		return "", errors.New("it is empty; give a name such as orders.example.com or *.example.com")
	case strings.Contains(name, "://") || strings.ContainsAny(name, "/?#@"):
		return "", errors.New("it is a URL; give the host alone, such as orders.example.com")
	case strings.Contains(name, "*"):
		return "", errors.New("a '*' stands in front alone, as in *.example.com")
	case bareHost(name) != strings.ToLower(strings.TrimSuffix(name, ".")):
		return "", errors.New("it has a port, which is not compared; give the host alone")
	}
	bare := bareHost(name)
	inside := bare
	if strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]") && !wild {
		inside = strings.ReplaceAll(bare[1:len(bare)-1], ":", "")
	}
	for _, c := range []byte(inside) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return "", errors.New("it has a character that no host has; a name that is not ASCII is written in punycode (xn--), an IPv6 address in brackets")
		}
	}
	if inside == "" || strings.HasPrefix(bare, ".") || strings.HasSuffix(bare, ".") || strings.Contains(bare, "..") {
		return "", errors.New("it has an empty part; give a name such as orders.example.com")
	}
	if wild {
		return "*." + bare, nil
	}
	return bare, nil
}
