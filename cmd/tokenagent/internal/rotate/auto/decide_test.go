package auto_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const one, two = "CANARY-41ab0-one", "CANARY-41ab0-two"

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// target returns a target with the keys, written as key=value.
func target(t *testing.T, name string, m auto.Mark, pairs ...string) auto.Target {
	t.Helper()
	keys := map[string][]byte{}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		keys[key] = []byte(value)
	}
	s, err := content.Parse(keys, "", content.Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return auto.Target{Namespace: name, Source: s, Mark: m}
}

func TestDecide(t *testing.T) {
	mark := func(id, step string) auto.Mark { return auto.Mark{ID: id, Step: step, Since: noon.Add(-time.Hour)} }
	none, staged, promoted, retired, aborted := auto.Mark{}, mark("r1", "staged"), mark("r1", "promoted"), mark("r1", "retired"), mark("r1", "aborted")
	idle := func(name string, m auto.Mark) auto.Target { return target(t, name, m, "token="+one) }
	next := func(name string, m auto.Mark) auto.Target { return target(t, name, m, "token="+one, "token-next="+two) }
	over := func(name string, m auto.Mark) auto.Target { return target(t, name, m, "token="+two) }
	old := func(name string, m auto.Mark, until time.Duration) auto.Target {
		return target(t, name, m, "token="+two, "token-previous="+one, "token-previous-until="+noon.Add(until).Format(time.RFC3339))
	}
	with := func(targets ...auto.Target) auto.Situation {
		return auto.Situation{Settings: auto.Settings{StageWait: 2 * time.Minute, MinAge: 30 * time.Minute, Timeout: time.Hour}, Targets: targets, Now: noon}
	}
	edit := func(s auto.Situation, f func(*auto.Situation)) auto.Situation { f(&s); return s }
	own := func(s auto.Situation) auto.Situation { s.ID = "r1"; return s }
	asks := func(s auto.Situation) auto.Situation { s.HasReceivers = true; return s }
	restarts := func(s auto.Situation, all ...auto.Rollout) auto.Situation {
		s.HasSenders, s.Rollouts = true, all
		return s
	}
	short := func(s auto.Situation) auto.Situation { s.Overlap = 30 * time.Minute; return s }
	late := &auto.Answers{Asked: 2, Late: []string{"x: not yet"}}
	all := &auto.Answers{Asked: 2}
	for name, c := range map[string]struct {
		auto.Situation
		do  auto.Do
		at  string // indices
		why string
	}{
		"begin":                        {with(idle("a", none), idle("b", none)), auto.Stage, "01", ""},
		"begin after one long ago":     {with(idle("a", retired)), auto.Stage, "0", ""},
		"begin after an abort":         {with(idle("a", aborted)), auto.Stage, "0", ""},
		"begin, staged mark left over": {with(idle("a", mark("r0", "staged")), idle("b", none)), auto.Stage, "01", ""},
		"aborted just now":             {with(idle("a", auto.Mark{ID: "r1", Step: "aborted", Since: noon.Add(-time.Minute)})), auto.Finish, "", "was aborted 1m0s ago, less than --min-age"},
		"rotated just now":             {with(idle("a", auto.Mark{ID: "r1", Step: "retired", Since: noon.Add(-time.Minute)})), auto.Finish, "", "was rotated 1m0s ago, less than --min-age"},
		"rotated by a slow clock":      {with(idle("a", auto.Mark{ID: "r1", Step: "retired", Since: noon.Add(30 * time.Second)})), auto.Finish, "", "was rotated 0s ago"},
		"rotated in the future":        {with(idle("a", auto.Mark{ID: "r1", Step: "retired", Since: noon.Add(time.Hour)})), auto.Stage, "0", ""},
		"an old token is still there":  {with(old("a", none, -time.Minute)), auto.Stage, "0", ""},
		"staging was cut short":        {with(next("a", staged), idle("b", none)), auto.Stage, "1", ""},
		"own was ended by hand":        {own(with(idle("a", none))), auto.Stop, "", "ended this rotation by hand"},
		"own was aborted":              {own(with(idle("a", aborted))), auto.Stop, "", "aborted"},

		"staged":                   {with(next("a", staged)), auto.Wait, "", "until every receiver has the new token"},
		"staged long ago by marks": {with(next("a", staged)), auto.Wait, "", ""},
		"waited":                   {edit(with(next("a", staged), next("b", staged)), func(s *auto.Situation) { s.Waited = 2 * time.Minute }), auto.Promote, "01", ""},
		"waited not quite":         {edit(with(next("a", staged)), func(s *auto.Situation) { s.Waited = 2*time.Minute - 1 }), auto.Wait, "", ""},
		"by hand":                  {with(next("a", none)), auto.Wait, "", ""},
		"ask":                      {asks(with(next("a", staged))), auto.AskLoaded, "", ""},
		"not loaded":               {edit(asks(with(next("a", staged))), func(s *auto.Situation) { s.Loaded = late }), auto.Wait, "", "1 of 2 receivers have the new token; not x: not yet"},
		"never loaded":             {edit(asks(with(next("a", staged))), func(s *auto.Situation) { s.Loaded, s.Waited = late, time.Hour }), auto.Stop, "", "after 1h0m0s"},
		"no receiver":              {edit(asks(with(next("a", staged))), func(s *auto.Situation) { s.Loaded = &auto.Answers{} }), auto.Wait, "", "no receiver is there"},
		"loaded":                   {edit(asks(with(next("a", staged))), func(s *auto.Situation) { s.Loaded = all }), auto.Promote, "0", ""},
		"promoting was cut short":  {edit(with(old("a", promoted, time.Hour), next("b", staged)), func(s *auto.Situation) { s.Waited = time.Hour }), auto.Promote, "1", ""},

		"promoted by hand":      {with(old("a", none, time.Hour)), auto.Adopt, "0", ""},
		"promoted":              {with(old("a", promoted, time.Hour)), auto.Wait, "", "until the old token's deadline, 2026-12-01T13:00:00Z"},
		"deadline":              {with(old("a", promoted, 0)), auto.Retire, "0", ""},
		"retired by hand":       {with(over("a", promoted)), auto.Retire, "0", ""},
		"no deadline":           {with(target(t, "a", promoted, "token="+two, "token-previous="+one)), auto.Stop, "", "has no deadline"},
		"look":                  {restarts(with(old("a", promoted, time.Hour))), auto.LookAtPods, "", ""},
		"restart":               {restarts(with(old("a", promoted, 0)), auto.Rollout{Started: true, Complete: true}, auto.Rollout{}), auto.Restart, "1", ""},
		"rolling":               {restarts(with(old("a", promoted, 0)), auto.Rollout{Name: "w", Started: true, Progress: "1 of 2"}), auto.Wait, "", "w restarts: 1 of 2"},
		"stuck":                 {restarts(with(old("a", promoted, 0)), auto.Rollout{Name: "w", Started: true, Stuck: "it failed"}), auto.Stop, "", "w: it failed"},
		"deadline is near":      {short(restarts(with(old("a", promoted, 14*time.Minute), old("b", promoted, 16*time.Minute)), auto.Rollout{Started: true})), auto.Extend, "0", ""},
		"deadline is not near":  {short(restarts(with(old("a", promoted, 15*time.Minute)), auto.Rollout{Name: "w", Started: true})), auto.Wait, "", "w restarts"},
		"deadline has passed":   {short(restarts(with(old("a", promoted, 0)), auto.Rollout{Name: "w", Started: true})), auto.Wait, "", "w restarts"},
		"near before a restart": {short(restarts(with(old("a", promoted, time.Minute)), auto.Rollout{})), auto.Extend, "0", ""},
		"near, but stuck":       {short(restarts(with(old("a", promoted, time.Minute)), auto.Rollout{Stuck: "it failed"})), auto.Stop, "", ""},
		"near, but too slow":    {edit(short(restarts(with(old("a", promoted, time.Minute)), auto.Rollout{Started: true})), func(s *auto.Situation) { s.Waited = time.Hour }), auto.Stop, "", "is not restarted"},
		"near, but complete":    {short(restarts(with(old("a", promoted, time.Minute)), auto.Rollout{Started: true, Complete: true})), auto.Wait, "", "deadline"},
		"too short to extend":   {edit(short(restarts(with(old("a", promoted, time.Minute)), auto.Rollout{Started: true})), func(s *auto.Situation) { s.Overlap = 5 * time.Minute }), auto.Wait, "", "restarts"},
		"too slow":              {edit(restarts(with(old("a", promoted, 0)), auto.Rollout{Name: "w", Started: true}), func(s *auto.Situation) { s.Waited = time.Hour }), auto.Stop, "", "w is not restarted after 1h0m0s"},
		"restarted":             {asks(restarts(with(old("a", promoted, 0)), auto.Rollout{Started: true, Complete: true})), auto.AskUnused, "", ""},
		"used":                  {edit(asks(with(old("a", promoted, time.Hour))), func(s *auto.Situation) { s.Unused, s.Waited = late, 9*time.Hour }), auto.Wait, "", "1 of 2 receivers do not need the old token"},
		"lost after the end":    {edit(asks(with(old("a", promoted, -time.Hour))), func(s *auto.Situation) { s.Unused, s.Waited = late, time.Hour }), auto.Stop, "", "fix these receivers"},
		"unused":                {edit(asks(with(old("a", promoted, time.Hour), old("b", promoted, time.Hour))), func(s *auto.Situation) { s.Unused = all }), auto.Retire, "01", ""},
		"retiring was cut":      {with(over("a", retired), old("b", promoted, 0)), auto.Retire, "1", ""},
		"done":                  {own(with(over("a", retired), over("b", retired))), auto.Finish, "", ""},
		"a copy made meanwhile": {with(old("a", promoted, 0), over("b", none)), auto.Retire, "0", ""},
		"a copy made at last":   {own(with(over("a", retired), over("b", none))), auto.Finish, "", ""},

		"staged after its own end": {own(with(next("a", retired))), auto.Finish, "", ""},

		"two rotations":          {with(next("a", staged), next("b", mark("r2", "staged"))), auto.Stop, "", "b is in the rotation r2, and others are in r1"},
		"different steps":        {with(idle("a", none), old("b", none, time.Hour)), auto.Stop, "", "idle: a; promoted: b"},
		"too far apart":          {own(with(next("a", staged), over("b", retired))), auto.Stop, "", "staged: a; retired: b"},
		"the current is revoked": {with(target(t, "a", none, "token="+one, "token-revoked="+fmt.Sprintf("%x", sha256.Sum256([]byte(one))))), auto.Stop, "", "is revoked"},
	} {
		got := auto.Decide(c.Situation)
		at := strings.Trim(strings.ReplaceAll(fmt.Sprint(got.At), " ", ""), "[]")
		if got.Do != c.do || at != c.at || !strings.Contains(got.Why, c.why) || got.Do == auto.Wait && got.For <= 0 || strings.Contains(got.Why, "CANARY") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
