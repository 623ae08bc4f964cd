package page_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

const hour = time.Hour

func TestPageShowsWhatIsAccepted(t *testing.T) {
	s := good(
		agent.TokenStatus{Slot: "current", Fingerprint: "aaaa0001", Declared: true, Since: ago(90 * time.Minute), Expires: later(25 * hour)},
		agent.TokenStatus{Slot: "next", Fingerprint: "aaaa0002", Declared: true, Since: ago(40 * time.Second)},
		agent.TokenStatus{Slot: "listed", Fingerprint: "aaaa0003", Declared: true, Since: ago(0)},
	)
	s.Generation, s.Rotations, s.Revoked, s.StateFile, s.PreviousLastUsed = 7, 3, 2, "/var/lib/agent/state", ago(5*hour)
	show(t, options{Host: "orders-7f"}, s).mustSay(t,
		"tokenagent orders-7f As of 00:00:00 UTC",
		"Ready, rotating", "token Staged", "Accepted: the current token, 1 staged, 1 listed.",
		"current what senders send aaaa0001 1 h 30 min since 1999-12-31 22:30 UTC while declared 1 d 1 h 2000-01-02 01:00 UTC",
		"next staged, not in use yet aaaa0002 40 s since 1999-12-31 23:59 UTC while declared none",
		"listed accepted while listed aaaa0003 0 s since 00:00:00 UTC while declared none",
		"From file /run/secrets/app", "Last good read 3 s ago", "Last change 1 h 30 min ago", "Old token last used 5 h 0 min ago",
		"Rotated 3 times generation 7", "Revoked 2 digests", "Changes are noticed by file system events, and polling",
		"State file /var/lib/agent/state", "version v1.2.3",
	)
}

func TestPageShowsKeys(t *testing.T) {
	s := good(agent.TokenStatus{Slot: "current", Fingerprint: "bbbb0001", KeyID: "2026-11", Algorithm: "RS256"},
		agent.TokenStatus{Slot: "previous", Fingerprint: "bbbb0002", KeyID: "2026-10", Algorithm: "ES256", Deadline: later(hour)})
	s.Name, s.Kind, s.Location = "keys", "jwks url", "https://issuer.example/jwks.json"
	s.PreviousUsers = []agent.PreviousUser{{Host: "10.0.0.7", Fingerprint: "2026-10", First: ago(hour), Last: ago(time.Minute)}}
	s.Tokens[1].LastUsed = ago(time.Minute)
	show(t, options{}, s).mustSay(t, "Accepted: the current key, 1 superseded.", "Old key bbbb0002",
		"bbbb0001 RS256 kid 2026-11", "what issuers sign with", "bbbb0002 ES256 kid 2026-10", "Used 1 min 0 s ago by 10.0.0.7 .",
		"Who still uses an old key Host Sends Last use First use 10.0.0.7 2026-10 1 min 0 s ago", "requesting it again when its answer expires")
}

// For each kind of overlap the page says when it ends, and what extends it.
func TestPageShowsTheOverlap(t *testing.T) {
	old := func(t agent.TokenStatus) agent.TokenStatus {
		t.Slot, t.Fingerprint = "previous", "aaaa0002"
		return t
	}
	for name, c := range map[string]struct {
		token agent.TokenStatus
		want  []string
	}{
		"fixed":    {old(agent.TokenStatus{Deadline: later(754 * time.Second)}), []string{"12 min 34 s left Fixed : refused from 00:12:34 UTC", "Unused since", "A restart of the agent ends it at once"}},
		"declared": {old(agent.TokenStatus{Deadline: later(hour), Declared: true}), []string{"1 h 0 min left Fixed", "The source declares it, so a restart of the agent does not end it"}},
		"undated":  {old(agent.TokenStatus{Declared: true}), []string{"no end while it is declared Undated : accepted while the source declares it"}},
		"sliding": {
			old(agent.TokenStatus{Deadline: later(10 * time.Minute), Cap: later(hour), LastUsed: ago(9 * time.Second)}),
			[]string{"10 min 0 s left, unless it is used again Slides : each use renews it, up to 01:00:00 UTC ( 1 h 0 min )", "Used 9 s ago."},
		},
		"waiting": {
			old(agent.TokenStatus{Deadline: later(hour), Cap: later(hour), Waiting: true}),
			[]string{"1 h 0 min at most Waits for the first use of the new token; accepted until 01:00:00 UTC at the latest."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := show(t, options{}, good(agent.TokenStatus{Slot: "current", Fingerprint: "aaaa0001"}, c.token))
			s.mustSay(t, "Ready, rotating", "token Rotating", "Old token aaaa0002", "No host so far.")
			for _, want := range c.want {
				if all := strings.ReplaceAll(text(s.Node), " .", "."); !strings.Contains(all, want) {
					t.Errorf("the page does not say %q:\n%s", want, all)
				}
			}
		})
	}
}

// An error is shown in the headline, in the tab, and at its source.
func TestPageShowsTrouble(t *testing.T) {
	change := func(f func(*agent.SourceStatus)) agent.SourceStatus {
		s := good()
		f(&s)
		return s
	}
	late := agent.TokenStatus{Slot: "previous", Fingerprint: "aaaa0002", Deadline: later(4 * time.Minute), LastUsed: ago(time.Minute)}
	capped := late
	capped.Cap = later(4 * time.Minute)
	for name, c := range map[string]struct {
		source   agent.SourceStatus
		headline string
		want     []string
	}{
		"nothing wrong": {good(), "Ready", []string{"token Good", "There is nothing to do"}},
		"not loaded": {
			agent.SourceStatus{Name: "token", Kind: "file", Location: "/x", Error: "file /x: not there; make it"},
			"Not ready",
			[]string{"Every request is refused with 503 until a source is loaded. Check token.", "token Not loaded", "Error file /x: not there; make it", "Accepted now Nothing.", "Last good read never"},
		},
		"stale": {change(func(s *agent.SourceStatus) { s.Ready = false }), "Not ready", []string{"The last good content is no longer in force"}},
		"error": {
			change(func(s *agent.SourceStatus) { s.LastReloadGood, s.Error = false, "file /x: is empty; write a token" }), "Ready, with an error",
			[]string{"Check token.", "token Error", "What was accepted before stays accepted", "Error file /x: is empty; write a token", "aaaa0001"},
		},
		"nothing accepted": {
			change(func(s *agent.SourceStatus) { s.Tokens, s.Limits = nil, []string{"nothing is accepted"} }), "Ready, with an error",
			[]string{"token Nothing accepted", "Every token is refused", "Limit nothing is accepted"},
		},
		"state file": {
			change(func(s *agent.SourceStatus) { s.StateFile, s.StateError = "/s", "state file /s: mode 0644; chmod 600" }), "Ready, with an error",
			[]string{"State file state file /s: mode 0644; chmod 600", "a restart may lose superseded and revoked tokens"},
		},
		"limit":           {change(func(s *agent.SourceStatus) { s.Limits = []string{"/x never updates"} }), "Ready, with a warning", []string{"token Warning", "Limit /x never updates"}},
		"used at its end": {good(late), "Ready, with a warning", []string{"Cut-off aaaa0002 is still in use and ends soon"}},
		"used at its cap": {good(capped), "Ready, with a warning", []string{"Cut-off aaaa0002 is still in use and ends soon"}},
		"expired":         {good(agent.TokenStatus{Slot: "current", Fingerprint: "aaaa0001", Expires: ago(hour)}), "Ready, with a warning", []string{"Expired aaaa0001 (current)", "passed 1999-12-31 23:00 UTC"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := show(t, options{}, c.source)
			if got := s.headline(t); got != c.headline {
				t.Errorf("headline %q; want %q", got, c.headline)
			}
			if title := text(s.all("title")[0]); !strings.HasPrefix(title, c.headline) {
				t.Errorf("title %q; want it to begin %q", title, c.headline)
			}
			s.mustSay(t, c.want...)
		})
	}
	if a, b := show(t, options{}, good()), show(t, options{}, agent.SourceStatus{Name: "x"}); attr(a.all("link")[0], "href") == attr(b.all("link")[0], "href") {
		t.Error("the tab's icon is the same when the agent is not ready")
	}
}

func TestPageTellsOfTheWholeAgent(t *testing.T) {
	draining := show(t, options{Draining: true}, good())
	if got := draining.headline(t); got != "Draining" {
		t.Errorf("headline %q", got)
	}
	half := show(t, options{}, good(), agent.SourceStatus{Name: "keys"})
	half.mustSay(t, "Not ready Requests that need keys are refused with 503.")
	closed := show(t, options{Status: func() realm.Status { return realm.Status{Status: agent.Status{}} }})
	if got := closed.headline(t); got != "Not ready" {
		t.Errorf("headline %q", got)
	}
	closed.mustSay(t, "No source is configured.")
}

// The headline names the sources with an error.
func TestPageNamesTheSourceInTrouble(t *testing.T) {
	var sources []agent.SourceStatus
	for i := range 30 {
		s := good()
		s.Name = fmt.Sprintf("realm %d", i)
		if i%9 == 4 {
			s.Error, s.LastReloadGood = "bad", false
		}
		sources = append(sources, s)
	}
	s := show(t, options{}, sources...)
	s.mustSay(t, "Check realm 4, realm 13, realm 22.")
	ids := make(map[string]bool)
	for _, n := range s.all("section") {
		ids["#"+attr(n, "id")] = true
	}
	links := 0
	for _, n := range s.all("a") {
		if href := attr(n, "href"); strings.HasPrefix(href, "#") {
			links++
			if !ids[href] {
				t.Errorf("%s leads nowhere", href)
			}
		}
	}
	if links != len(sources) {
		t.Errorf("%d links to %d sources", links, len(sources))
	}
}

func TestPageStaysReadableWithMuch(t *testing.T) {
	var tokens []agent.TokenStatus
	for i := range 3000 {
		tokens = append(tokens, agent.TokenStatus{Slot: "listed", Fingerprint: fmt.Sprintf("%08x", i)})
	}
	tokens = append(tokens, agent.TokenStatus{Slot: "previous", Fingerprint: "aaaa0002"})
	src := good(tokens...)
	for i := range 100 {
		src.PreviousUsers = append(src.PreviousUsers, agent.PreviousUser{Host: fmt.Sprintf("10.0.0.%d", i), Fingerprint: "aaaa0002", First: ago(hour), Last: ago(hour)})
	}
	s := show(t, options{}, src)
	s.mustSay(t, "And 2951 more: see /status .", "92 more", "10.0.0.99", "Old token aaaa0002")
	if len(s.raw) > 150_000 {
		t.Errorf("%d bytes", len(s.raw))
	}
}

func TestPageShowsClients(t *testing.T) {
	t.Parallel()
	s := good(
		agent.TokenStatus{Slot: "current", Fingerprint: "aaaa0001", Since: ago(hour)},
		agent.TokenStatus{Client: "busy", Slot: "current", Fingerprint: "aaaa0002", Since: ago(hour), LastUsed: ago(2 * time.Second), Uses: 1},
		agent.TokenStatus{Client: "idle", Slot: "current", Fingerprint: "aaaa0003", Since: ago(40 * 24 * hour)},
		agent.TokenStatus{Client: "late", Slot: "current", Fingerprint: "aaaa0004", Since: ago(hour), LastUsed: ago(time.Minute), Uses: 40},
		agent.TokenStatus{Client: "ready", Slot: "current", Fingerprint: "aaaa0006", Since: ago(hour)},
		agent.TokenStatus{Client: "ready", Slot: "next", Fingerprint: "aaaa0007", Since: ago(hour)},
		agent.TokenStatus{Client: "late", Slot: "previous", Fingerprint: "aaaa0005", Since: ago(hour), Deadline: later(time.Minute), LastUsed: ago(5 * time.Second), Uses: 2},
	)
	s.PreviousUsers = []agent.PreviousUser{
		{Client: "late", Host: "10.0.0.7", Fingerprint: "aaaa0005", First: ago(hour), Last: ago(5 * time.Second)},
		{Host: "10.0.0.8", Fingerprint: "aaaa0005", First: ago(hour), Last: ago(hour)},
	}
	page := show(t, options{}, s)
	page.mustSay(t,
		"Accepted: 5 current, 1 staged, 1 superseded.",
		"Cut-off aaaa0005 of late is still in use and ends soon",
		"Old token aaaa0005 of late",
		"4 named clients, 1 with an old token in use, 1 with a staged token, 1 unused for a month.",
		"Client Slot Fingerprint Last use In this slot Accepted",
		"late current what senders send aaaa0004 1 min 0 s ago 1999-12-31 23:59 UTC 40 uses",
		"late previous superseded, remembered aaaa0005 5 s ago 1999-12-31 23:59 UTC 2 uses",
		"ready next staged, not in use yet aaaa0007 never 0 uses",
		"idle current what senders send aaaa0003 never unused for a month 0 uses",
		"no name current what senders send aaaa0001 not counted",
		"busy current what senders send aaaa0002 2 s ago 1999-12-31 23:59 UTC 1 use ",
		"Client Host Sends Last use First use late 10.0.0.7 aaaa0005 5 s ago", "no name 10.0.0.8",
	)
	var order []string
	for _, n := range page.all("td") {
		if attr(n, "data-label") == "Client" {
			order = append(order, text(n))
		}
	}
	if got, want := strings.Join(order, ","), "late,late,ready,ready,idle,no name,busy,late,no name"; got != want {
		t.Errorf("clients %s; want %s", got, want)
	}
	if plain := text(show(t, options{}, good()).Node); strings.Contains(plain, "Client") || strings.Contains(plain, "uses") {
		t.Errorf("a source without named clients shows some:\n%s", plain)
	}
}

// With many clients, those that need somebody are seen at once, and the page stays small.
func TestPageStaysReadableWithManyClients(t *testing.T) {
	t.Parallel()
	for clients, size := range map[int]int{200: 300_000, 10_000: 350_000} {
		var tokens []agent.TokenStatus
		for i := range clients {
			tokens = append(tokens, agent.TokenStatus{Client: fmt.Sprintf("client-%05d", i), Slot: "current", Fingerprint: fmt.Sprintf("%08x", i), Since: ago(hour), LastUsed: ago(time.Minute), Uses: 9})
		}
		for i := range 60 { // all rotate at once, and the last one still uses its old token
			old := agent.TokenStatus{Client: fmt.Sprintf("client-%05d", clients-60+i), Slot: "previous", Fingerprint: fmt.Sprintf("ffff%04d", i), Since: ago(hour), Deadline: later(time.Minute)}
			if i >= 30 {
				old.LastUsed = ago(time.Second)
			}
			tokens = append(tokens, old)
		}
		page := show(t, options{}, good(tokens...))
		page.mustSay(t, fmt.Sprintf("%d named clients, 30 with an old token in use.", clients), "And 52 more old tokens: see below.", "More 10 more warnings; see below and /status")
		var first string
		for _, n := range page.all("td") {
			if attr(n, "data-label") == "Client" {
				first = text(n)
				break
			}
		}
		if want := fmt.Sprintf("client-%05d", clients-30); first != want {
			t.Errorf("%s stands first; want %s", first, want)
		}
		if len(page.raw) > size {
			t.Errorf("%d clients: %d bytes", clients, len(page.raw))
		}
		if clients == 200 {
			page.mustSay(t, "210 more", "client-00139")
		} else {
			page.mustSay(t, "250 more", "And 9760 more: see /status .")
		}
	}
}

// TestRealms: their file and its error stand first, and each source names the
// hosts that it decides for.
func TestRealms(t *testing.T) {
	t.Parallel()
	orders, pay := good(), good()
	orders.Name, pay.Name = "orders", "realms"
	st := realm.Status{
		Status: agent.Status{Ready: true, Sources: []agent.SourceStatus{orders, pay}},
		Realms: []realm.OneStatus{{Name: "orders", Sources: []string{"orders"}, Hosts: []string{"a.example", "*.b.example"}}, {Name: "realms", Sources: []string{"realms"}}},
		Config: &realm.ConfigStatus{File: "/etc/realms.yaml", WatchMode: "events", Good: true, LastSuccess: ago(hour), LastChange: ago(2 * hour)},
	}
	s := show(t, options{Status: func() realm.Status { return st }})
	s.mustSay(t, "Realms Good From file /etc/realms.yaml In force 2 realms Last good read 1 h 0 min ago", "Hosts a.example *.b.example Last good read")
	if got := s.headline(t); got != "Ready" {
		t.Errorf("headline %q", got)
	}
	if got := strings.Count(text(s.Node), "Hosts"); got != 1 {
		t.Errorf("%d sources with hosts", got)
	}
	st.Config.Good, st.Config.Error = false, "/etc/realms.yaml:3: realms.a: <b>unknown</b> key"
	s = show(t, options{Status: func() realm.Status { return st }})
	s.mustSay(t, "Realms Error Error /etc/realms.yaml:3: realms.a: <b>unknown</b> key", "the realms that were in force before")
	if got := s.headline(t); got != "Ready, with an error" {
		t.Errorf("headline %q", got)
	}
	keys := make(map[string]bool)
	for n := range s.Descendants() {
		if k := attr(n, "data-key"); k != "" && n.Data == "section" {
			if keys[k] {
				t.Errorf("two sections have the key %q", k)
			}
			keys[k] = true
		}
	}
}

// Certificates have a section of their own; what is wrong with one is in the
// headline, unless a source is worse.
func TestPageShowsCertificates(t *testing.T) {
	st := realm.Status{Status: agent.Status{Ready: true, Sources: []agent.SourceStatus{good()}}}
	showIt := func() shown { return show(t, options{Status: func() realm.Status { return st }}) }
	if strings.Contains(text(showIt().Node), "Certificates") {
		t.Error("certificates without TLS")
	}
	st.Certificates = []listener.Status{
		{Listener: "listen", NotAfter: later(10 * 24 * hour), Good: true, LastChange: ago(hour)},
		{Listener: "admin-listen", NotAfter: later(90 * 24 * hour), Good: true, ClientCerts: true, LastChange: ago(2 * hour)},
	}
	s := showIt()
	s.mustSay(t, "Certificates Good", "listen Good 10 d 0 h 2000-01-11 00:00 UTC need none 1 h 0 min ago", "admin-listen Good 90 d 0 h 2000-03-31 00:00 UTC need a certificate 2 h 0 min ago")
	if got := s.headline(t); got != "Ready" {
		t.Errorf("headline %q", got)
	}
	for name, c := range map[string]struct {
		change         func(*listener.Status)
		headline, says string
	}{
		"ends soon": {func(c *listener.Status) { c.NotAfter = later(2 * 24 * hour) }, "Ready, with a warning", "listen Expires soon 2 d 0 h"},
		"expired":   {func(c *listener.Status) { c.NotAfter = ago(0) }, "Ready, with an error", "listen Expired passed 00:00:00 UTC"},
		"error":     {func(c *listener.Status) { c.Good, c.Error = false, "/tls.key is not the <b>key</b>" }, "Ready, with an error", "Error /tls.key is not the <b>key</b>"},
	} {
		was := st.Certificates[0]
		c.change(&st.Certificates[0])
		s := showIt()
		if got := s.headline(t); got != c.headline {
			t.Errorf("%s: headline %q; want %q", name, got, c.headline)
		}
		s.mustSay(t, c.says)
		st.Certificates[0] = was
	}
}
