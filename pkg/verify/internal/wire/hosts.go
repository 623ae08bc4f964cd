package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Hosts are the hosts that a token may be sent to.
type Hosts []Host

// A Host is a host name or an address, with a port.
type Host struct {
	name string     // in lower-case ASCII; "" for an IPv6 address
	addr netip.Addr // valid only for an IPv6 address, which has many spellings
	port string     // "" means the scheme's default port

	// Loopback says that the host is this machine: the name localhost (RFC 6761
	// section 6.3), which is not resolved, or an address in 127.0.0.0/8 or ::1.
	Loopback bool
}

// ParseHosts returns the hosts that names list, each as "host" or "host:port".
// An empty list is an error, because it must not mean "any host". The error lists
// every unusable name by its index and quotes none.
func ParseHosts(names []string) (Hosts, error) {
	if len(names) == 0 {
		return nil, errors.New("Hosts is empty; list the hosts that the token may be sent to")
	}
	hosts := make(Hosts, 0, len(names))
	var errs []error
	for i, name := range names {
		h, ok := parseHost(name)
		if !ok {
			errs = append(errs, fmt.Errorf("Hosts[%d] is not a host or host:port; leave out scheme, user and path, put an IPv6 address in brackets, write a name in ASCII (xn--)", i))
		}
		hosts = append(hosts, h)
	}
	return hosts, errors.Join(errs...)
}

func parseHost(s string) (h Host, ok bool) {
	name, port, bracketed, ok := splitHostPort(s)
	if !ok || port == "" && strings.HasSuffix(s, ":") {
		return Host{}, false
	}
	if h.port = port; port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return Host{}, false
		}
	}
	if bracketed {
		h.addr, ok = parseIPv6(name)
		h.Loopback = h.addr.Unmap().IsLoopback()
		return h, ok
	}
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return Host{}, false
		}
	}
	h.name = strings.ToLower(name)
	addr, err := netip.ParseAddr(name)
	h.Loopback = h.name == "localhost" || err == nil && addr.IsLoopback()
	return h, name != ""
}

// Find returns the entry of hs that authority names under scheme, or nil.
// authority is "host" or "host:port" (RFC 3986 section 3.2). Names are compared in
// ASCII, ignoring case, and are not resolved. A port that is missing on either
// side is the scheme's default port.
func (hs Hosts) Find(scheme, authority string) *Host {
	name, port, bracketed, ok := splitHostPort(authority)
	if !ok {
		return nil
	}
	standard := defaultPort(scheme)
	if port == "" {
		port = standard
	}
	for i := range hs {
		h := &hs[i]
		if (h.port == port || h.port == "" && port == standard) && port != "" && h.matches(name, bracketed) {
			return h
		}
	}
	return nil
}

// AnyLoopback reports whether an entry of hs names this machine.
func (hs Hosts) AnyLoopback() bool {
	return slices.ContainsFunc(hs, func(h Host) bool { return h.Loopback })
}

// matches reports whether name, without its brackets if bracketed, is h's name or
// address.
func (h *Host) matches(name string, bracketed bool) bool {
	if h.addr.IsValid() || bracketed {
		addr, ok := parseIPv6(name)
		return ok && bracketed && addr == h.addr
	}
	// EqualFold also folds U+212A (Kelvin sign) to k. A name of equal length in bytes
	// cannot contain it.
	return len(name) == len(h.name) && strings.EqualFold(name, h.name)
}

// splitHostPort splits authority into a name and a port, which is "" if there is
// none. It removes brackets around the name and reports them. A second colon without
// brackets is an error: the port of an IPv6 address would be ambiguous.
func splitHostPort(authority string) (name, port string, bracketed, ok bool) {
	if inside, found := strings.CutPrefix(authority, "["); found {
		name, rest, closed := strings.Cut(inside, "]")
		port, colon := strings.CutPrefix(rest, ":")
		return name, port, true, closed && (colon || rest == "")
	}
	name, port, _ = strings.Cut(authority, ":")
	return name, port, false, !strings.Contains(port, ":")
}

func parseIPv6(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	return addr, err == nil && addr.Is6()
}

// defaultPort returns the default port of RFC 9110 sections 4.2.1 and 4.2.2, or ""
// for a scheme that is neither http nor https.
func defaultPort(scheme string) string {
	switch scheme {
	case "https":
		return "443"
	case "http":
		return "80"
	}
	return ""
}
