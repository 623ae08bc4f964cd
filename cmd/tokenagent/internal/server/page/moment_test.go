package page

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// span.js says the same: test/page reads the same file.
func TestSpansOfTime(t *testing.T) {
	text, err := os.ReadFile("testdata/spans.json")
	if err != nil {
		t.Fatal(err)
	}
	var spans []struct {
		MS             int64
		Ago, Age, Left string
	}
	if err := json.Unmarshal(text, &spans); err != nil {
		t.Fatal(err)
	}
	if len(spans) == 0 {
		t.Fatal("no spans")
	}
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range spans {
		m := moment{now.Add(-time.Duration(s.MS) * time.Millisecond), now}
		if m.Ago() != s.Ago || m.Age() != s.Age || m.Left() != s.Left {
			t.Errorf("%d ms: %q, %q, %q; want %q, %q, %q", s.MS, m.Ago(), m.Age(), m.Left(), s.Ago, s.Age, s.Left)
		}
	}
}

func TestClockNamesAnotherDay(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for at, want := range map[time.Time]string{
		now.Add(-3 * time.Hour):          "00:04:05 UTC",
		now.Add(-4 * time.Hour):          "2030-01-01 23:04 UTC",
		now.AddDate(1, 0, 0):             "2031-01-02 03:04 UTC",
		now.In(time.FixedZone("", 3600)): "03:04:05 UTC",
	} {
		if got := (moment{at, now}).Clock(); got != want {
			t.Errorf("%s: %q; want %q", at, got, want)
		}
	}
}
