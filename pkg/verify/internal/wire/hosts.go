package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Hosts are the places that a token may be sent to.
type Hosts []Host

// A Host is one of them.
type Host struct {
	name string     // lower-case ASCII; "" for an IPv6 address
	addr netip.Addr // valid for an IPv6 address alone, which has many spellings
	port string     // "" means the scheme's default port

	// Loopback says that it is this machine: the name localhost (RFC 6761
	// section 6.3), taken at its word, or an address in 127.0.0.0/8 or ::1.
	Loopback bool
}

// ParseHosts returns the hosts that names list, each as "host" or "host:port".
// No names is an error: it must not mean 'anywhere'. An error tells an unusable
// name by its index alone.
func ParseHosts(names []string) (Hosts, error) {
	if len(names) == 0 {
		return nil, errors.New("Hosts is empty; list the hosts that may be sent the token")
	}
	hosts := make(Hosts, 0, len(names))
	var errs []error
	for i, name := range names {
		h, ok := parseHost(name)
		if !ok {
			errs = append(errs, fmt.Errorf("Hosts[%d] is no host and no host:port; leave out scheme, user and path, put an IPv6 address in brackets, write a name in ASCII (xn--)", i))
		}
		hosts = append(hosts, h)
	}
	return hosts, errors.Join(errs...)
}

func parseHost(s string) (h Host, ok bool) {
	name, port, bracketed, ok := split(s)
	if !ok || port == "" && strings.HasSuffix(s, ":") {
		return Host{}, false
	}
	if h.port = port; port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return Host{}, false
		}
	}
	if bracketed {
		h.addr, ok = ipv6(name)
		h.Loopback = h.addr.Unmap().IsLoopback()
		return h, ok
	}
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return Host{}, false
		}
	}
	h.name = strings.ToLower(name)
	addr, err := netip.ParseAddr(name)
	h.Loopback = h.name == "localhost" || err == nil && addr.IsLoopback()
	return h, name != ""
}

// Find returns the host that authority ("host" or "host:port", RFC 3986 section
// 3.2) names under scheme, and nil if it is none of hs. Names are compared in
// ASCII, without case, and not resolved; a port that is missing on either side
// is the default one of scheme.
func (hs Hosts) Find(scheme, authority string) *Host {
	name, port, bracketed, ok := split(authority)
	if !ok {
		return nil
	}
	standard := defaultPort(scheme)
	if port == "" {
		port = standard
	}
	for i := range hs {
		h := &hs[i]
		if (h.port == port || h.port == "" && port == standard) && port != "" && h.is(name, bracketed) {
			return h
		}
	}
	return nil
}

// AnyLoopback reports whether one of hs is this machine.
func (hs Hosts) AnyLoopback() bool {
	for i := range hs {
		if hs[i].Loopback {
			return true
		}
	}
	return false
}

func (h *Host) is(name string, bracketed bool) bool {
	if h.addr.IsValid() || bracketed {
		addr, ok := ipv6(name)
		return ok && bracketed && addr == h.addr
	}
	if len(name) != len(h.name) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != h.name[i] {
			return false
		}
	}
	return true
}

// split takes authority apart; bracketed says that name stood in brackets,
// which are gone. A colon too many is no host: it may be an IPv6 address with a
// port or without.
func split(authority string) (name, port string, bracketed, ok bool) {
	if inside, found := strings.CutPrefix(authority, "["); found {
		name, rest, closed := strings.Cut(inside, "]")
		port, colon := strings.CutPrefix(rest, ":")
		return name, port, true, closed && (colon || rest == "")
	}
	name, port, _ = strings.Cut(authority, ":")
	return name, port, false, !strings.Contains(port, ":")
}

func ipv6(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	return addr, err == nil && addr.Is6()
}

// defaultPort returns the port of RFC 9110 sections 4.2.1 and 4.2.2, and "" for
// a scheme that is neither http nor https.
func defaultPort(scheme string) string {
	switch scheme {
	case "https":
		return "443"
	case "http":
		return "80"
	}
	return ""
}
