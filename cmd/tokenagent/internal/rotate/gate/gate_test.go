package gate_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fresh, old = "1111aaaa", "2222bbbb"
	idle       = 15 * time.Minute
)

var now = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)

func source(tokens ...agent.TokenStatus) agent.SourceStatus {
	return agent.SourceStatus{Name: "token", Ready: true, LastReloadGood: true, LastChange: now.Add(-time.Hour), Tokens: tokens}
}

func TestLoaded(t *testing.T) {
	other := source(agent.TokenStatus{Slot: "current", Fingerprint: "9999ffff"})
	behind := source(agent.TokenStatus{Slot: "current", Fingerprint: old})
	behind.Name = "behind"
	staged := source(agent.TokenStatus{Slot: "current", Fingerprint: old}, agent.TokenStatus{Slot: "next", Fingerprint: fresh})
	broken := source()
	broken.Error = "/x: the fault"
	for name, c := range map[string]struct {
		sources []agent.SourceStatus
		says    string
	}{
		"staged":             {[]agent.SourceStatus{source(agent.TokenStatus{Slot: "next", Fingerprint: fresh})}, ""},
		"current":            {[]agent.SourceStatus{other, source(agent.TokenStatus{Slot: "current", Fingerprint: fresh})}, ""},
		"listed":             {[]agent.SourceStatus{source(agent.TokenStatus{Slot: "listed", Fingerprint: fresh})}, ""},
		"nothing":            {[]agent.SourceStatus{source()}, "has not loaded " + fresh},
		"another":            {[]agent.SourceStatus{other}, "has not loaded " + fresh},
		"ends with overlaps": {[]agent.SourceStatus{source(agent.TokenStatus{Slot: "previous", Fingerprint: fresh})}, "has not loaded"},
		"broken":             {[]agent.SourceStatus{broken}, "its source is bad: /x: the fault"},
		"both sources":       {[]agent.SourceStatus{staged, staged}, ""},
		"one source of two":  {[]agent.SourceStatus{staged, behind}, "has not loaded " + fresh + " in its source behind"},
	} {
		if got := gate.Loaded([]string{old, fresh}, fresh)(c.sources, now); (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
}

// Each of several checks has to pass.
func TestLoadedAll(t *testing.T) {
	s := []agent.SourceStatus{source(agent.TokenStatus{Slot: "listed", Fingerprint: fresh})}
	if got := gate.Loaded(nil, fresh, old)(s, now); got != "it has not loaded "+old {
		t.Errorf("%q", got)
	}
	if got := gate.Loaded(nil, fresh, fresh)(s, now); got != "" {
		t.Errorf("%q", got)
	}
}

func TestUnused(t *testing.T) {
	current := agent.TokenStatus{Slot: "current", Fingerprint: fresh}
	previous := func(used time.Duration) agent.TokenStatus {
		p := agent.TokenStatus{Slot: "previous", Fingerprint: old}
		if used != 0 {
			p.LastUsed = now.Add(-used)
		}
		return p
	}
	changed := func(ago time.Duration, tokens ...agent.TokenStatus) agent.SourceStatus {
		s := source(tokens...)
		s.LastChange = now.Add(-ago)
		return s
	}
	users := func(fingerprint string, ago time.Duration, hosts ...string) agent.SourceStatus {
		s := source(current, previous(0))
		for _, h := range hosts {
			s.PreviousUsers = append(s.PreviousUsers, agent.PreviousUser{Host: h, Fingerprint: fingerprint, Last: now.Add(-ago)})
		}
		return s
	}
	named := func(s agent.SourceStatus) agent.SourceStatus {
		s.Tokens[1].KeyID = "2031"
		return s
	}
	unknown := source(current, previous(0))
	unknown.LastChange = time.Time{}
	for name, c := range map[string]struct {
		s    agent.SourceStatus
		says string
	}{
		"never used":                     {source(current, previous(0)), ""},
		"used long ago":                  {source(current, previous(idle)), ""},
		"gone by its deadline":           {source(current), ""},
		"used just now":                  {source(current, previous(idle-time.Second)), "2222bbbb was used 14m59s ago, less than --idle 15m0s"},
		"used in the future":             {source(current, previous(-time.Second)), "was used 0s ago"},
		"watching for too short":         {changed(time.Minute, current, previous(0)), "has watched for only 1m0s"},
		"used long ago, restarted since": {changed(time.Minute, current, previous(time.Hour)), "has watched for only 1m0s"},
		"watching since when":            {unknown, "does not say since when"},
		"named hosts":                    {users(old, time.Minute, "10.0.0.1", "10.0.0.2"), "was used by 10.0.0.1, 10.0.0.2 1m0s ago"},
		"many hosts":                     {users(old, time.Minute, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"), "by a, b, c, d, e, f, g, h, i, j and 2 more 1m0s"},
		"hosts of long ago":              {users(old, time.Hour, "10.0.0.1"), ""},
		"hosts of a named key":           {named(users("2031", time.Minute, "10.0.0.1")), "2222bbbb was used by 10.0.0.1 1m0s ago"},
		"hosts of another named key":     {named(users("2030", time.Minute, "10.0.0.1")), ""},
		"hosts of another token":         {users("3333cccc", time.Minute, "10.0.0.1"), ""},
		"old still current":              {source(agent.TokenStatus{Slot: "current", Fingerprint: old}), "still has 2222bbbb as current"},
		"old still listed":               {source(current, agent.TokenStatus{Slot: "listed", Fingerprint: old}), "still has 2222bbbb as listed"},
		"new one still staged":           {source(agent.TokenStatus{Slot: "next", Fingerprint: fresh}), "current token is not 1111aaaa yet"},
		"nothing":                        {source(), "current token is not 1111aaaa yet"},
	} {
		got := gate.Unused(fresh, []string{old}, idle)([]agent.SourceStatus{c.s}, now)
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
}

// Without --idle the gate can open before the overlap ends, however short that is.
func TestIdleFollowsTheOverlap(t *testing.T) {
	for name, c := range map[string]struct {
		watched, left, used time.Duration // used is how long ago; 0 means never
		slides              bool
		says                string
	}{
		"long, watched for long enough":   {watched: 16 * time.Minute, left: time.Hour},
		"long, not yet":                   {watched: 14 * time.Minute, left: time.Hour, says: "has watched for only 14m0s, less than --idle 15m0s"},
		"short, more than half is over":   {watched: 8 * time.Minute, left: 7 * time.Minute},
		"short, less than half is over":   {watched: 7 * time.Minute, left: 8 * time.Minute, says: "less than --idle 7m30s"},
		"short, used lately":              {watched: 9 * time.Minute, left: 6 * time.Minute, used: time.Minute, says: "was used 1m0s ago, less than --idle 7m30s"},
		"very short":                      {watched: 16 * time.Second, left: 14 * time.Second},
		"sliding, half of one overlap":    {watched: 10 * time.Hour, left: 7 * time.Minute, used: 8 * time.Minute, slides: true},
		"sliding, less than that":         {watched: 10 * time.Hour, left: 8 * time.Minute, used: 7 * time.Minute, slides: true, says: "less than --idle 7m30s"},
		"without a deadline":              {watched: 16 * time.Minute},
		"without a deadline, not yet":     {watched: 14 * time.Minute, says: "less than --idle 15m0s"},
		"the deadline was before a start": {watched: time.Minute, left: -2 * time.Minute, says: "less than --idle 15m0s"},
	} {
		p := agent.TokenStatus{Slot: "previous", Fingerprint: old}
		if c.left != 0 {
			p.Deadline = now.Add(c.left)
		}
		if c.used != 0 {
			p.LastUsed = now.Add(-c.used)
		}
		if c.slides {
			p.Cap = now.Add(14 * time.Hour)
		}
		s := source(agent.TokenStatus{Slot: "current", Fingerprint: fresh}, p)
		s.LastChange = now.Add(-c.watched)
		got := gate.Unused(fresh, []string{old}, 0)([]agent.SourceStatus{s}, now)
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", name, got, c.says)
		}
	}
}

// answers is an Ask that knows what each agent says.
func answers(by map[string]*agent.Status) func(context.Context, string) (statusclient.Answer, error) {
	return func(_ context.Context, url string) (statusclient.Answer, error) {
		if by[url] == nil {
			return statusclient.Answer{}, errors.New("no answer")
		}
		return statusclient.Answer{Status: &realm.Status{Status: *by[url]}, At: now}, nil
	}
}

// The refusal names all that lag, in order, and none that does not.
func TestRefusalNamesAllThatLag(t *testing.T) {
	ready := &agent.Status{Sources: []agent.SourceStatus{source(agent.TokenStatus{Slot: "next", Fingerprint: fresh})}}
	behind := &agent.Status{Sources: []agent.SourceStatus{source()}}
	g := gate.Gate{Agents: []string{"http://a", "http://b", "http://c", "http://d"}}
	g.Ask = answers(map[string]*agent.Status{"http://a": behind, "http://b": ready, "http://d": behind})
	err := g.Pass(t.Context(), gate.Loaded(nil, fresh))
	want := "3 of 4 agents not ready for this: http://a: it has not loaded 1111aaaa; http://c: no answer; http://d: it has not loaded 1111aaaa; nothing was changed; try again later, or wait for them with --wait DURATION"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	g.Agents = []string{"http://b"}
	if err := g.Pass(t.Context(), gate.Loaded(nil, fresh)); err != nil {
		t.Error(err)
	}
	g.Source = "other"
	if err := g.Pass(t.Context(), gate.Loaded(nil, fresh)); err == nil || !strings.Contains(err.Error(), "no such source; --source must be") {
		t.Error(err)
	}
	if err := (gate.Gate{}).Pass(t.Context(), gate.Loaded(nil, fresh)); err != nil {
		t.Error("a gate without agents is shut:", err)
	}
}

// What an agent says reaches the terminal as text.
func TestAgentsWordsAreText(t *testing.T) {
	const evil = "\x1b]0;x\x07\r\n\u009b2J"
	behind := source(agent.TokenStatus{Slot: "previous", Fingerprint: old, LastUsed: now}, agent.TokenStatus{Slot: "current", Fingerprint: fresh})
	behind.Error = evil
	behind.PreviousUsers = []agent.PreviousUser{{Host: evil, Fingerprint: old, Last: now}}
	g := gate.Gate{Agents: []string{"http://a", "http://b"}, Ask: func(_ context.Context, url string) (statusclient.Answer, error) {
		if url == "http://b" {
			return statusclient.Answer{}, errors.New(evil)
		}
		return statusclient.Answer{Status: &realm.Status{Status: agent.Status{Sources: []agent.SourceStatus{behind}}}, At: now}, nil
	}}
	for _, check := range []gate.Check{gate.Loaded(nil, "3333cccc"), gate.Unused(fresh, []string{old}, idle)} {
		err := g.Pass(t.Context(), check)
		if err == nil || strings.ContainsFunc(err.Error(), unicode.IsControl) || strings.Count(err.Error(), `\u001b]0;x\u0007\u000d\u000a\u009b2J`) != 2 {
			t.Errorf("%q", err)
		}
	}
}

func TestSourceIsTheOneMeant(t *testing.T) {
	next := source(agent.TokenStatus{Slot: "next", Fingerprint: fresh})
	next.Name = "keys"
	g := gate.Gate{Agents: []string{"http://a"}, Source: "token", Ask: answers(map[string]*agent.Status{"http://a": {Sources: []agent.SourceStatus{next, source()}}})}
	if err := g.Pass(t.Context(), gate.Loaded(nil, fresh)); err == nil {
		t.Error("another source's token opened the gate")
	}
	g.Source = "keys"
	if err := g.Pass(t.Context(), gate.Loaded(nil, fresh)); err != nil {
		t.Error(err)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var rounds atomic.Int32
		status := &agent.Status{Sources: []agent.SourceStatus{source(agent.TokenStatus{Slot: "next", Fingerprint: fresh})}}
		g := gate.Gate{Agents: []string{"http://a"}, Wait: time.Minute, Ask: func(context.Context, string) (statusclient.Answer, error) {
			rounds.Add(1)
			if time.Since(begun) < 30*time.Second {
				return statusclient.Answer{}, errors.New("not yet")
			}
			return statusclient.Answer{Status: &realm.Status{Status: *status}, At: now}, nil
		}}
		if err := g.Pass(t.Context(), gate.Loaded(nil, fresh)); err != nil || time.Since(begun) != 30*time.Second || rounds.Load() != 31 {
			t.Errorf("%v after %s and %d rounds", err, time.Since(begun), rounds.Load())
		}
		g.Wait, begun = 10*time.Second, time.Now()
		if err := g.Pass(t.Context(), gate.Loaded(nil, fresh)); err == nil || time.Since(begun) != 10*time.Second || !strings.Contains(err.Error(), "--wait 10s was not enough") {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		g.Wait, begun = time.Hour, time.Now().Add(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		from := time.Now()
		if err := g.Pass(ctx, gate.Loaded(nil, fresh)); err == nil || time.Since(from) != 3500*time.Millisecond || !strings.HasPrefix(err.Error(), "interrupted while waiting: ") {
			t.Errorf("%v after %s", err, time.Since(from))
		}
	})
}

// One that does not answer costs its own time alone, and no more than 5 s.
func TestSilentAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		g := gate.Gate{Agents: []string{"http://a", "http://b", "http://c"}, Ask: func(ctx context.Context, _ string) (statusclient.Answer, error) {
			<-ctx.Done()
			return statusclient.Answer{}, ctx.Err()
		}}
		err := g.Pass(t.Context(), gate.Loaded(nil, fresh))
		if err == nil || !strings.HasPrefix(err.Error(), "3 of 3") || time.Since(begun) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}
