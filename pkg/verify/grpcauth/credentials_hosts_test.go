package grpcauth_test

import (
	"net"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// TestCredentialsAreSentOnlyWhereAllowed: the authority, the security and the peer of each
// kind of connection decide.
func TestCredentialsAreSentOnlyWhereAllowed(t *testing.T) {
	serverTLS, clientTLS := certified(t)
	buffered := func(testing.TB) net.Listener { return bufconn.Listen(1 << 16) }
	secure := grpc.WithTransportCredentials(clientTLS)
	const no, bare = "not one of Hosts", "plain text"
	for name, c := range map[string]struct {
		listen func(testing.TB) net.Listener
		target string // "" for the listener's own
		hosts  []string
		dial   []grpc.DialOption
		fault  string
	}{
		"an address":                      {loopback, "", []string{"ADDR"}, nil, ""},
		"an address, by local":            {loopback, "", []string{"ADDR"}, []grpc.DialOption{grpc.WithTransportCredentials(local.NewCredentials())}, ""},
		"a name":                          {loopback, "dns:///localhost:PORT", []string{"localhost:PORT"}, nil, ""},
		"a port alone":                    {loopback, "passthrough:///:PORT", []string{"LocalHost:PORT"}, nil, ""},
		"another port":                    {loopback, "", []string{"127.0.0.1:1"}, nil, no},
		"no port":                         {loopback, "", []string{"127.0.0.1"}, nil, no},
		"a name for an address":           {loopback, "dns:///localhost:PORT", []string{"ADDR"}, nil, no},
		"another name":                    {loopback, "", []string{"ADDR"}, []grpc.DialOption{grpc.WithAuthority("evil.example")}, no},
		"an address's other name":         {loopback, "", []string{"localhost"}, []grpc.DialOption{grpc.WithAuthority("localhost:443")}, ""},
		"a remote name in plain text":     {loopback, "", []string{"app.example", "localhost"}, []grpc.DialOption{grpc.WithAuthority("app.example")}, bare},
		"a socket":                        {socket, "", []string{"localhost"}, nil, ""},
		"a socket, by local":              {socket, "", []string{"localhost"}, []grpc.DialOption{grpc.WithTransportCredentials(local.NewCredentials())}, ""},
		"a socket, by local, and renamed": {socket, "", []string{"app"}, []grpc.DialOption{grpc.WithTransportCredentials(local.NewCredentials()), grpc.WithAuthority("app")}, ""},
		"a socket, renamed":               {socket, "", []string{"localhost", "app"}, []grpc.DialOption{grpc.WithAuthority("app")}, bare},
		"a socket, not listed":            {socket, "", []string{"app", "127.0.0.1"}, nil, no},
		"memory, said to be local":        {buffered, "passthrough:///localhost", []string{"localhost"}, nil, bare},
		"TLS":                             {loopback, "", []string{"ADDR"}, []grpc.DialOption{secure}, ""},
		"TLS to a name":                   {loopback, "", []string{"example.com"}, []grpc.DialOption{secure, grpc.WithAuthority("example.com")}, ""},
		"TLS in memory":                   {buffered, "passthrough:///example.com", []string{"EXAMPLE.com:443"}, []grpc.DialOption{secure}, ""},
		"TLS to another name":             {loopback, "", []string{"ADDR"}, []grpc.DialOption{secure, grpc.WithAuthority("example.com")}, no},
	} {
		t.Run(name, func(t *testing.T) {
			l, noted := c.listen(t), &log{}
			opts := noted.noting("dapr-api-token")
			if strings.HasPrefix(name, "TLS") {
				opts = append(opts, grpc.Creds(serverTLS))
			}
			host(t, l, opts...)
			_, port, _ := net.SplitHostPort(l.Addr().String())
			fill := strings.NewReplacer("ADDR", l.Addr().String(), "PORT", port)
			target := fill.Replace(c.target)
			switch l.Addr().Network() {
			case "unix":
				target = "unix://" + l.Addr().String()
			case "tcp":
				if target == "" {
					target = "passthrough:///" + l.Addr().String()
				}
			default:
				c.dial = append(c.dial, over(l))
			}
			for i := range c.hosts {
				c.hosts[i] = fill.Replace(c.hosts[i])
			}
			for _, allow := range []bool{false, true} {
				creds := grpcauth.PerRPCCredentials(static(good), grpcauth.CredentialsOptions{Hosts: c.hosts, AllowPlaintext: allow})
				api := client(t, target, append(c.dial, grpc.WithPerRPCCredentials(creds))...)
				_, err := unary(t.Context(), api)
				got := noted.take()
				_, streamErr := bidi(t.Context(), api)
				got = append(got, noted.take()...)
				if c.fault == "" || c.fault == bare && allow {
					if err != nil || streamErr != nil || !reflect.DeepEqual(got, []string{good, good}) {
						t.Errorf("AllowPlaintext %t: %v, %v, arrived %q", allow, err, streamErr, got)
					}
					continue
				}
				for _, err := range []error{err, streamErr} {
					if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "grpcauth: ") || !strings.Contains(err.Error(), c.fault) {
						t.Errorf("AllowPlaintext %t: %v, want %q", allow, err, c.fault)
					}
				}
				if len(got) != 0 {
					t.Errorf("AllowPlaintext %t: arrived with %q", allow, got)
				}
			}
		})
	}
}

// TestCredentialsAuthorityOfOneCall: a call may have an authority of its own, which then
// decides.
func TestCredentialsAuthorityOfOneCall(t *testing.T) {
	serverTLS, clientTLS := certified(t)
	l, noted := loopback(t), &log{}
	host(t, l, append(noted.noting("dapr-api-token"), grpc.Creds(serverTLS))...)
	c := client(t, "passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(clientTLS), sends(static(good), l.Addr().String()))
	if _, err := c.EmptyCall(t.Context(), nil, grpc.CallAuthority("example.com")); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), `"example.com"`) {
		t.Errorf("another authority: %v", err)
	}
	// As credentials of a single call.
	c = client(t, "passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(clientTLS))
	creds := grpcauth.PerRPCCredentials(static(good), grpcauth.CredentialsOptions{Hosts: []string{"example.com"}})
	if _, err := c.EmptyCall(t.Context(), nil, grpc.CallAuthority("example.com"), grpc.PerRPCCredentials(creds)); err != nil || !reflect.DeepEqual(noted.take(), []string{good}) {
		t.Errorf("credentials of a call: %v", err)
	}
}

// TestCredentialsNeedProof: a connection is not private unless its credentials promise
// privacy, and not local because of its name alone.
func TestCredentialsNeedProof(t *testing.T) {
	creds := grpcauth.PerRPCCredentials(static(good), grpcauth.CredentialsOptions{Hosts: []string{"localhost", "app.example"}})
	addr := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	const here, there = "https://localhost/a.B", "https://app.example/a.B"
	for name, c := range map[string]struct {
		uris []string
		auth credentials.AuthInfo
		addr net.Addr
		ok   bool
	}{
		"no uri":              {nil, credentials.TLSInfo{CommonAuthInfo: level(credentials.PrivacyAndIntegrity)}, addr("127.0.0.1"), false},
		"empty uri":           {[]string{""}, credentials.TLSInfo{CommonAuthInfo: level(credentials.PrivacyAndIntegrity)}, addr("127.0.0.1"), false},
		"private":             {[]string{there}, credentials.TLSInfo{CommonAuthInfo: level(credentials.PrivacyAndIntegrity)}, addr("10.0.0.1"), true},
		"integrity":           {[]string{there}, credentials.TLSInfo{CommonAuthInfo: level(credentials.IntegrityOnly)}, addr("10.0.0.1"), false},
		"says nothing":        {[]string{there}, credentials.TLSInfo{}, addr("10.0.0.1"), false},
		"cannot say":          {[]string{there}, vague{}, addr("10.0.0.1"), false},
		"no information":      {[]string{there}, nil, addr("10.0.0.1"), false},
		"loopback":            {[]string{here}, nil, addr("127.8.8.8"), true},
		"loopback, IPv6":      {[]string{here}, nil, addr("::1"), true},
		"loopback, mapped":    {[]string{here}, nil, addr("::ffff:127.0.0.1"), true},
		"loopback for a name": {[]string{there}, nil, addr("127.0.0.1"), false}, // a proxy
		"a name for loopback": {[]string{here}, nil, addr("10.0.0.1"), false},   // a hosts file
		"one of two":          {[]string{here, there}, nil, addr("127.0.0.1"), false},
		"one of two unlisted": {[]string{here, "https://x/a.B"}, nil, addr("127.0.0.1"), false},
		"no address":          {[]string{here}, nil, nil, false},
		"another network":     {[]string{here}, nil, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}, false},
		"a method in the uri": {[]string{"https://localhost"}, nil, addr("127.0.0.1"), true},
		"a user in the uri":   {[]string{"https://localhost@evil.example/a.B"}, nil, addr("127.0.0.1"), false},
	} {
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: c.addr})
		if c.auth != nil {
			ctx = credentials.NewContextWithRequestInfo(ctx, credentials.RequestInfo{AuthInfo: c.auth})
		}
		got, err := creds.GetRequestMetadata(ctx, c.uris...)
		if (err == nil) != c.ok || (err == nil) != (got["dapr-api-token"] == good) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := creds.GetRequestMetadata(t.Context(), here); err == nil {
		t.Error("without a peer")
	}
}

func level(l credentials.SecurityLevel) credentials.CommonAuthInfo {
	return credentials.CommonAuthInfo{SecurityLevel: l}
}

type vague struct{}

func (vague) AuthType() string { return "vague" }
