package realm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "CANARY-1f7ce4-"

func tokenN(n int) string { return fmt.Sprintf("%s%08d", canary, n) }

// A site is a Set with the directory of its file and of its token files.
type site struct {
	t      *testing.T
	dir    string
	log    *testlog.Log
	set    *Set
	logger *slog.Logger // writes to log
	slow   string       // the JWKS URL of the realm named slow
}

// write replaces the file name by one with text.
func (s *site) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		s.t.Fatal(err)
	}
}

// parse reads one line for each realm: its name, its token file, its overlap and its
// hosts. After the overlap, "wait" sets WaitForSource, and "=NAME" names the source. A
// shorter line, such as "bad", is an error.
func (s *site) parse(c reload.Content) (*Plan, error) {
	p := &Plan{Paths: true}
	for line := range strings.Lines(string(c.Data)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			return nil, errors.New("bad")
		}
		overlap, called, _ := strings.Cut(f[2], "=")
		overlap, wait := strings.CutSuffix(overlap, "wait")
		d, err := time.ParseDuration(overlap)
		if err != nil {
			return nil, errors.New("bad")
		}
		p.Specs = append(p.Specs, Spec{
			Name: f[0], Hosts: f[3:],
			Config: agent.Config{
				Name: cmp.Or(called, f[0]), TokenFile: filepath.Join(s.dir, f[1]), Overlap: d, WaitForSource: wait, Poll: pollOf(len(f)),
				Logger: s.logger,
			},
		})
	}
	for i := range p.Specs {
		if c := &p.Specs[i].Config; strings.HasPrefix(filepath.Base(c.TokenFile), "keys") { // of the issuer with this name
			iss := agent.JWT{Issuer: "https://" + filepath.Base(c.TokenFile) + ".example", Audiences: []string{"x"}}
			c.Issuers = []agent.Issuer{{Name: c.Name + ".keys", KeyFile: c.TokenFile, JWT: iss}}
			c.TokenFile = ""
		}
		if c := &p.Specs[i].Config; p.Specs[i].Name == "slow" {
			c.WaitForSource = true
			c.Issuers = []agent.Issuer{{Name: "slow.keys", JWKSURL: s.slow, JWT: agent.JWT{Issuer: "https://issuer.example", Audiences: []string{"x"}}}}
		}
	}
	return p, nil
}

// pollOf returns a short interval, but a long one for the hundred realms with one host,
// which would be busy polling.
func pollOf(fields int) time.Duration {
	if fields == 4 {
		return time.Hour
	}
	return 50 * time.Millisecond
}

func newSite(t *testing.T) *site {
	t.Helper()
	log := &testlog.Log{}
	return &site{t: t, dir: t.TempDir(), log: log, logger: slog.New(slog.NewTextHandler(log, nil))}
}

func (s *site) open(ctx context.Context) (*Set, error) {
	return Open(ctx, filepath.Join(s.dir, "realms"), s.parse, Options{
		Auth: httpauth.Options{ForwardAuth: true}, Poll: 50 * time.Millisecond, Debounce: -1,
		Logger: s.logger,
	})
}

// start opens the Set of text, and closes it when the test ends. The files "0", "1" and so
// on hold the tokens 0, 1 and so on.
func start(t *testing.T, text string, tokens int) *site {
	t.Helper()
	s := newSite(t)
	s.start(t, text, tokens)
	return s
}

func (s *site) start(t *testing.T, text string, tokens int) {
	t.Helper()
	for n := range tokens {
		s.write(strconv.Itoa(n), tokenN(n))
	}
	s.write("realms", text)
	set, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.set = set
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(s.log.String(), "CANARY") {
			t.Errorf("a token in the log:\n%s", s.log.String())
		}
	})
}

// accepts reports whether the realm named name accepts token n.
func (s *site) accepts(name string, n int) bool {
	t := s.set.Table()
	r := t.Named(name)
	if r == nil {
		return false
	}
	_, err := r.Agent.Verify(context.Background(), tokenN(n))
	return err == nil
}

func (s *site) agentOf(name string) *agent.Agent {
	t := s.set.Table()
	return t.Named(name).Agent
}

// becomes waits until cond holds.
func (s *site) becomes(what string, cond func() bool) {
	s.t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("not within 20 s: %s; log:\n%s", what, s.log.String())
		}
	}
}
