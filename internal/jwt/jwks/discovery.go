package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// CanDiscover reports whether the keys of issuer can be found by [Discover]: whether it is
// an https URL, or an http URL with a loopback host.
func CanDiscover(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && u.Hostname() != "" && isSecure(u)
}

// isSecure reports whether u is https, or http with a loopback host.
func isSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

// Discover returns the source of the keys of an issuer, whose metadata document says where
// the keys are. Discover makes no request. It returns an error if issuer or o is not valid.
//
// The source asks for the document whenever it asks for the keys: at
// /.well-known/openid-configuration below the issuer (OpenID Connect Discovery 1.0 section
// 4) and, if the server answers 404, at /.well-known/oauth-authorization-server before the
// path of the issuer (RFC 8414 section 3). It follows redirects of the document only on
// the same host. The "issuer" of the document must be issuer, byte by byte, and its
// "jwks_uri" must be https, with a host name in ASCII. Unless the host of the issuer is loopback, neither jwks_uri nor
// a redirect of it may lead to a loopback, link-local or unspecified address. If the
// document is invalid, the source uses the last valid address, and SideError returns the
// error. The source sends the token of BearerFile only to the host of the issuer.
func Discover(issuer string, o RemoteOptions) (*RemoteSource, error) {
	problem := ""
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Hostname() == "":
		problem = "{issuer}: the URL has no host, so no keys can be found there; write it as https://HOST/PATH, or set {key-file} or {jwks-url}"
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		problem = "{issuer}: the URL holds a user name, a query or a fragment, so no keys can be found there; set {key-file} or {jwks-url}"
	case !isSecure(u):
		problem = "{issuer}: the URL is not https, so anybody on the way could put keys in; http is accepted only for loopback; set {key-file} or {jwks-url}"
	}
	if problem != "" {
		return nil, option.Errorf(option.Field, problem)
	}
	s, err := newRemote(o)
	if err != nil {
		return nil, err
	}
	base, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	s.discovery = &discovery{issuer: issuer, host: u.Host, isLocal: isLoopback(u.Hostname())}
	for _, address := range []string{base + path + "/.well-known/openid-configuration", base + "/.well-known/oauth-authorization-server" + path} {
		s.discovery.documents = append(s.discovery.documents, &location{url: address, name: address, host: u.Host})
	}
	return s, nil
}

// A discovery says where the metadata document of an issuer is.
type discovery struct {
	issuer    string
	host      string
	isLocal   bool        // whether the host is loopback
	documents []*location // the first that exists holds the metadata
}

// maxDocument is the maximum length in bytes of a metadata document.
const maxDocument = 1 << 20

var (
	errOtherHost = errors.New("a redirect to another host")
	errInternal  = errors.New("a redirect to this machine or its link")
	errNotASCII  = errors.New("a redirect to a host name that is not ASCII")
)

// discover requests the metadata document, and returns the location of the keys and the
// header of the answer.
func (s *RemoteSource) discover(ctx context.Context, client http.Client) (*location, http.Header, error) {
	d := s.discovery
	first, second := d.documents[0], d.documents[1]
	doc := first
	client.CheckRedirect = d.followDocument
	body, header, err := s.get(ctx, client, first, maxDocument)
	if errors.Is(err, errNotFound) {
		doc = second
		body, header, err = s.get(ctx, client, second, maxDocument)
		if errors.Is(err, errNotFound) {
			return nil, header, fmt.Errorf("%s: neither this document nor %s exists; correct the issuer (--issuer, JWT.Issuer), or give the address of its key set (--jwks-url, Issuer.JWKSURL)", first.name, second.name)
		}
	}
	if err != nil {
		return nil, header, err
	}
	keys, err := d.parse(body)
	if err != nil {
		return nil, header, fmt.Errorf("%s: %w", doc.name, err)
	}
	return keys, header, nil
}

// parse returns the location of the keys in a metadata document. The error quotes nothing
// of the document.
func (d *discovery) parse(document []byte) (*location, error) {
	members := make(map[string]json.RawMessage)
	if !utf8.Valid(document) || json.Unmarshal(document, &members) != nil {
		return nil, errors.New("not a JSON object, as the metadata of an issuer is; correct the issuer (--issuer, JWT.Issuer)")
	}
	if _, err := strictjson.Check(document); err != nil {
		return nil, fmt.Errorf("%w; the issuer must correct it", err)
	}
	var issuer, keys string
	if json.Unmarshal(members["issuer"], &issuer) != nil || json.Unmarshal(members["jwks_uri"], &keys) != nil {
		return nil, errors.New("the metadata has no text issuer or no text jwks_uri; give the address of the key set (--jwks-url, Issuer.JWKSURL)")
	}
	if issuer != d.issuer {
		hint := "give the issuer exactly as it writes itself (--issuer, JWT.Issuer)"
		if strings.TrimSuffix(issuer, "/") == strings.TrimSuffix(d.issuer, "/") {
			hint = "they differ only in a slash at the end"
		}
		return nil, errors.New("the metadata is of another issuer; " + hint)
	}
	u, err := url.Parse(keys)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, errors.New("its jwks_uri has no host; the issuer must correct it")
	case !isASCII(u.Host):
		return nil, errors.New("its jwks_uri has a host name that is not ASCII; the issuer must write it in Punycode (xn--)")
	case u.User != nil:
		return nil, errors.New("its jwks_uri holds a user name or password; the issuer must correct it")
	case u.Scheme != "https" && (!d.isLocal || !isSecure(u)):
		return nil, errors.New("its jwks_uri is not https, so anybody on the way could put keys in; the issuer must correct it")
	case !d.isLocal && isInternal(u.Hostname()):
		return nil, errors.New("its jwks_uri leads to this machine or its link, where the keys of another host cannot be; the issuer must correct it")
	}
	return newLocation(u), nil
}

// followDocument returns an error if a redirect of a document must not be followed.
func (d *discovery) followDocument(r *http.Request, via []*http.Request) error {
	if err := follow(r, via); err != nil {
		return err
	}
	if r.URL.Host != d.host {
		return errOtherHost
	}
	return nil
}

// followKeys returns an error if a redirect of the keys must not be followed.
func (d *discovery) followKeys(r *http.Request, via []*http.Request) error {
	switch {
	case !isASCII(r.URL.Host):
		return errNotASCII
	case !d.isLocal && isInternal(r.URL.Hostname()):
		return errInternal
	}
	return follow(r, via)
}

// isASCII reports whether host is ASCII. net/http maps other characters to ASCII after all
// checks: "127。0。0。1", with three full stops of Chinese, to a loopback address.
func isASCII(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf })
}

// isInternal reports whether host, in ASCII, is a name or an address of this machine or its
// link, or a number that some resolvers read as an IPv4 address (inet_aton(3)). The network of
// a cluster is not internal, because issuers run there.
func isInternal(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		// A zone names a link, and hides the unspecified address from IsGlobalUnicast.
		return addr.Zone() != "" || !addr.IsGlobalUnicast() || !embedded(addr).IsGlobalUnicast()
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last == "localhost" || last == "" || last[0] >= '0' && last[0] <= '9' && strings.Trim(strings.TrimPrefix(last, "0x"), "0123456789abcdef") == ""
}

// embedded returns the IPv4 address in addr, to which the network may translate it, or addr
// if it contains none.
func embedded(addr netip.Addr) netip.Addr {
	b := addr.As16()
	switch {
	case addr.Is4In6():
		return addr.Unmap()
	case addr.Is4():
		return addr
	case [12]byte(b[:12]) == [12]byte{}, // IPv4-compatible (RFC 4291 section 2.5.5.1)
		[12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}: // NAT64 (RFC 6052 section 2.1)
		return netip.AddrFrom4([4]byte(b[12:]))
	case b[0] == 0x20 && b[1] == 2: // 6to4 (RFC 3056 section 2)
		return netip.AddrFrom4([4]byte(b[2:6]))
	default:
		return addr
	}
}
