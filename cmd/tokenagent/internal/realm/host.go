package realm

import (
	"errors"
	"net/netip"
	"strings"
)

// ParseHost returns the name in a Host header field or :authority in the form in which
// names are compared: in lower case, without the port and the final dot, and an IPv6
// address in brackets in its shortest form (RFC 5952). It returns false for any host that
// is not of the form name[:digits] or [v6][:digits]. RFC 3986 allows more, but programs
// disagree about the rest: one program cuts "payments.example:x" at the colon, another
// reads all of it as the name. A name consists of letters, digits, '-' and '_', in parts
// that are not empty.
//
// ParseHost allocates only if host has upper case or is an IPv6 address.
func ParseHost(host string) (name string, ok bool) {
	if host != "" && host[0] == '[' {
		return parseV6(host)
	}
	part, upper := 0, false // the length of the present part; whether host has upper case
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			part++
		case 'A' <= c && c <= 'Z':
			part++
			upper = true
		case c == '.' && part > 0:
			part = 0
		case c == ':' && digits(host[i+1:]):
			return finish(host[:i], upper)
		default:
			return "", false
		}
	}
	return finish(host, upper)
}

// finish returns a name of valid characters in the form in which names are compared.
func finish(name string, upper bool) (string, bool) {
	if name = strings.TrimSuffix(name, "."); upper {
		name = strings.ToLower(name)
	}
	return name, name != ""
}

// parseV6 does what ParseHost does for a host that begins with '['. A Host has no zone.
func parseV6(host string) (string, bool) {
	inside, port, ok := strings.Cut(host[1:], "]")
	if !ok || port != "" && (port[0] != ':' || !digits(port[1:])) {
		return "", false
	}
	addr, err := netip.ParseAddr(inside)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	return "[" + addr.String() + "]", true
}

// digits reports whether s consists of one or more digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// CheckHost returns a host in a file of realms in the form in which hosts are compared.
// It is a name, an IPv4 address, an IPv6 address in brackets, or *. and a name, for all
// names that end in it. The error quotes nothing.
func CheckHost(host string) (string, error) {
	name, wild := strings.CutPrefix(host, "*.")
	bare, ok := ParseHost(name)
	hasPort := strings.Contains(name, ":") && !strings.HasSuffix(name, "]")
	switch {
	case ok && !hasPort && !(wild && bare[0] == '['):
		return strings.TrimSuffix(host, name) + bare, nil
	case ok && hasPort:
		return "", errors.New("it has a port, which is not compared; give only the host")
	case strings.ContainsAny(name, "/?#@"):
		return "", errors.New("it is a URL; give only the host, such as orders.example.com")
	default:
		return "", errors.New("it is not a host; give a name such as orders.example.com (in punycode, xn--, if it is not ASCII), *. and a name, an IPv4 address, or an IPv6 address in brackets without a zone")
	}
}
