package config

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/token"
)

// both sets settings such as "token-file=/f header=A header=B" by flags and, in another
// Realm, as a file of realms does.
func both(t *testing.T, settings string) (flags, file Realm) {
	t.Helper()
	flags, file = Defaults(), Defaults()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(fs, &flags, Tokens, Signed, Reading, Overlap, Request)
	values := make(map[string][]string)
	for s := range strings.FieldsSeq(settings) {
		if err := fs.Parse([]string{"--" + s}); err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(s, "=")
		values[name] = append(values[name], value)
	}
	fs.Visit(func(f *pflag.Flag) { flags.Given[f.Name] = 0 })
	for i := range Fields {
		if v, ok := values[Fields[i].Name]; ok && !Fields[i].EntryOnly {
			if err := file.set(setting{Field: Fields[i], values: v}, "/dir"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return flags, file
}

// TestFlagAndKeySetTheSame checks that the flag and the key of a setting have the same
// effect.
func TestFlagAndKeySetTheSame(t *testing.T) {
	for _, f := range Fields {
		if f.Topic == NoFlag {
			continue
		}
		settings := f.Name + "=/a"
		switch r := Defaults(); f.flag(&r).Value.Type() {
		case "stringArray":
			settings += " " + f.Name + "=b,c"
		case "int":
			settings = f.Name + "=77"
		case "bool":
			settings = f.Name + "=true"
		case "duration":
			settings = f.Name + "=7m"
		}
		flags, file := both(t, settings)
		if !reflect.DeepEqual(flags, file) {
			t.Errorf("%s: flags\n%+v\nfile\n%+v", settings, flags, file)
		}
		if _, given := flags.Given[f.Name]; !given {
			t.Errorf("%s is not in Given", f.Name)
		}
		if none := Defaults(); reflect.DeepEqual(f.Pointer(&flags), f.Pointer(&none)) {
			t.Errorf("%s changed nothing", settings)
		}
	}
	for _, f := range Fields {
		if f.IsPath {
			r := Defaults()
			if err := r.set(setting{Field: f, values: []string{"../sub/./x"}}, "/dir"); err != nil || *f.Pointer(&r).(*string) != "/sub/x" {
				t.Errorf("%s: %v %+v", f.Name, err, r)
			}
		}
	}
}

// TestValidate checks that flags and a file of realms have the same errors, which name
// the settings as flags or as keys.
func TestValidate(t *testing.T) {
	const keys, url = "key-file=/f issuer=i audience=a ", "jwks-url=https://h/ issuer=i audience=a "
	for settings, want := range map[string]string{
		"token-file=/f": "",
		"issuer=https://i/ audience=a jwks-ca-file=/a max-stale=1h leeway=1s": "",
		"issuer=http://127.0.0.1:1/ audience=a":                               "",
		"issuer=https://i/":                                                   "{audience} is missing",
		"token-file=/f issuer=http://i.example/CANARY":                        "{issuer} goes with {key-file}, {jwks-url} or {kubernetes}, unless it is an https URL",
		"issuer=https://i.example/?CANARY audience=a":                         "{issuer}: the URL holds a user name, a query or a fragment",
		"issuer=https://i/ audience=a key-file=/f jwks-ca-file=/a":            "{jwks-ca-file} goes with {jwks-url} or, without {key-file}",
		"token-file=/f env-file=/g":                                           "{token-file} and {env-file} are both set; one source is meant",
		"token-file=/f token-env=X":                                           "{token-file} and {token-env} are both set",
		"token-file=/f min-token-bytes=0":                                     "{min-token-bytes} must be at least 1",
		keys + "jwks-url=https://h/":                                          "{key-file} and {jwks-url} are both set",
		"key-file=/f audience=a":                                              "{issuer} is missing",
		"jwks-url=https://h/ issuer=i":                                        "{audience} is missing",
		"token-file=/f issuer=i":                                              "{issuer} goes with {key-file}, {jwks-url} or {kubernetes}",
		"token-file=/f audience=i":                                            "{audience} goes with {key-file}, {jwks-url}, {kubernetes} or an https URL as {issuer}, and none",
		"token-file=/f leeway=1s":                                             "{leeway} goes with",
		"token-file=/f require-claim=a":                                       "{require-claim} goes with",
		"token-file=/f key-name=a":                                            "{key-name} goes with",
		"token-file=/f jwks-ca-file=/a":                                       "{jwks-ca-file} goes with {jwks-url}",
		keys + "max-stale=1h":                                                 "{max-stale} goes with {jwks-url}",
		keys + "jwks-ca-file=/a":                                              "{jwks-ca-file} goes with {jwks-url}",
		keys + "jwks-bearer-file=/a":                                          "{jwks-bearer-file} goes with {jwks-url}",
		keys + "key-algorithm=none":                                           "{key-algorithm} must be one of HS256",
		keys + "algorithm=ES256":                                              "",
		keys + "algorithm=ES256 algorithm=none":                               "{algorithm} must be one of HS256",
		keys + "require-claim=a require-claim=b=":                             "{require-claim} number 2: the value is empty",
		keys + "require-claim==CANARY":                                        "{require-claim} number 1: the form is NAME",
		keys + "require-claim=/a~b=c":                                         "{require-claim} number 1: a JSON Pointer in which ~",
		keys + "jwt-cache=-1":                                                 "{jwt-cache} must be 0 to",
		keys + "leeway=11m":                                                   "{leeway} must be at most 10m",
		keys + "leeway=-1s":                                                   "{leeway} must not be negative",
		url + "max-stale=1m":                                                  "{max-stale} must be at least 2m",
		url + "max-stale=0s":                                                  "",
		"jwks-url=http://h.example/CANARY issuer=i audience=a":                "{jwks-url}: the URL is not https",
		"jwks-url=https://u:CANARY@h.example/ issuer=i audience=a":            "{jwks-url}: the URL holds a user name or password",
		"token-file=/f overlap=-1m":                                           "{overlap} must not be negative; 0s means none",
		"token-file=/f debounce=-1s":                                          "{debounce} must not be negative; 0s means none",
		"token-file=/f poll-interval=-1s":                                     "{poll-interval} must not be negative",
		"token-file=/f poll-interval=1ms":                                     "{poll-interval} is shorter than 10ms",
		"token-file=/f max-overlap=1m":                                        "{max-overlap} (1m0s) is shorter than {overlap} (15m0s)",
		"token-file=/f max-overlap=1m overlap=0s":                             "{max-overlap} needs {overlap}",
		"token-file=/f max-overlap=-1s overlap=0s":                            "",
		"token-file=/f header=a:b":                                            "{header}: ",
		"token-file=/f leeway=1s debounce=-1s":                                "{leeway} goes with {key-file}, {jwks-url}, {kubernetes} or an https URL as {issuer}, and none is given; {debounce} must not",
		"kubernetes=true audience=a":                                          "{kubernetes}: this is not a pod: KUBERNETES_SERVICE_HOST and",
		"kubernetes=true key-file=/f audience=a":                              "{kubernetes} is set beside {key-file} or {jwks-url};",
		"kubernetes=true jwks-ca-file=/f audience=a":                          "{kubernetes} takes the CA and the bearer token from the pod's service account; leave {jwks-ca-file}",
		keys + "token-review=true":                                            "{token-review} goes with {kubernetes};",
		"key-file=/f trust-domain=prod.example audience=a":                    "",
		keys + "trust-domain=spiffe://prod.example":                           "{trust-domain} must be lower-case letters",
		keys + "trust-domain=prod.example jwt-type=JWT":                       "{jwt-type} and {trust-domain} are both set",
		keys + "trust-domain=prod.example algorithm=EdDSA":                    "{algorithm} must be one of RS256",
		"token-file=/f trust-domain=prod.example":                             "{trust-domain} goes with {key-file}, {jwks-url}, {kubernetes} or an https URL",
	} {
		flags, file := both(t, settings)
		for _, c := range []struct {
			realm Realm
			use   Use
			spell option.Spelling
		}{{flags, Run, option.Flag}, {flags, Check, option.Flag}, {file, InRealm, option.Key}} {
			err := c.realm.Validate(c.use)
			if c.use == Check && strings.Contains(want, "is missing") || want == "" {
				if err != nil {
					t.Errorf("%s for use %d: %v", settings, c.use, err)
				}
				continue
			}
			text := option.Errorf(c.spell, want).Error()
			if err == nil || !strings.HasPrefix(option.Text(err, c.spell), text) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s for use %d: %v, want %s", settings, c.use, err, text)
			}
		}
	}
	flags, _ := both(t, keys)
	flags.Config.Name = "keys"
	if err := flags.Validate(Run); err == nil || !strings.Contains(err.Error(), "are the same") {
		t.Errorf("two sources with the same name: %v", err)
	}
	none := Defaults()
	if none.Validate(InRealm) == nil {
		t.Error("a realm without a source is valid")
	}
	if err := none.Validate(Run); err != nil {
		t.Errorf("a command without a source: %v", err)
	}
}

// TestAgentConfig checks that each setting reaches its field of the agent's Config.
func TestAgentConfig(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for settings, change := range map[string]func(*agent.Config){
		"": func(*agent.Config) {},
		"overlap=0s max-overlap=-1s poll-interval=0s debounce=0s wait-for-source=true state-file=/s token-file=/f min-token-bytes=9": func(c *agent.Config) {
			c.Overlap, c.MaxOverlap, c.Poll, c.Debounce = -1, -time.Second, -1, -1
			c.WaitForSource, c.StateFile, c.TokenFile, c.MinTokenBytes = true, "/s", "/f", 9
		},
		"jwks-url=https://h/ key-algorithm=PS256 max-stale=1h issuer=i trust-domain=prod.example audience=a audience=b key-name=n jwks-ca-file=/ca jwks-bearer-file=/t": func(c *agent.Config) {
			c.Issuers = []agent.Issuer{{
				Name: "n", JWKSURL: "https://h/", KeyAlgorithm: "PS256",
				JWKS: agent.JWKS{MaxStale: time.Hour, CAFile: "/ca", BearerFile: "/t"},
				JWT:  agent.JWT{Issuer: "i", TrustDomain: "prod.example", Audiences: []string{"a", "b"}, RequiredClaims: map[string][]string{}, Leeway: jwt.DefaultLeeway},
			}}
			c.JWTCache = jwt.DefaultCacheSize
		},
		"issuer=https://i.example audience=a jwks-ca-file=/ca allow-missing-issuer=true": func(c *agent.Config) {
			c.Issuers = []agent.Issuer{{
				Name: "keys", JWKS: agent.JWKS{CAFile: "/ca"},
				JWT: agent.JWT{Issuer: "https://i.example", AllowMissingIssuer: true, Audiences: []string{"a"}, RequiredClaims: map[string][]string{}, Leeway: jwt.DefaultLeeway},
			}}
			c.JWTCache = jwt.DefaultCacheSize
		},
		"key-file=/f jwt-cache=0 leeway=0s algorithm=ES256 jwt-type=at+jwt require-claim=a require-claim=b=1 require-claim=b=2=3 require-claim=b": func(c *agent.Config) {
			c.Issuers = []agent.Issuer{{
				Name: "keys", KeyFile: "/f",
				JWT: agent.JWT{Leeway: -1, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}, RequiredClaims: map[string][]string{"a": nil, "b": {"1", "2=3"}}},
			}}
			c.JWTCache = -1
		},
	} {
		want := agent.Config{Name: "token", MinTokenBytes: token.DefaultMinBytes, Overlap: agent.DefaultOverlap, Poll: 10 * time.Second, Debounce: time.Second, Logger: log}
		change(&want)
		flags, file := both(t, settings)
		for _, r := range []Realm{flags, file} {
			if got := r.AgentConfig(Run, log); !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n%+v\nwant\n%+v", settings, got, want)
			}
		}
	}
}
