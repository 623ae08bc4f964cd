package rotate

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A step is planned again once agents are ready, so planning must not change its input.
func TestStepsDoNotModifyTheirInput(t *testing.T) {
	text := "CANARY-9d21-current\nCANARY-9d21-staged next\nCANARY-9d21-older previous\nCANARY-9d21-listed\n" +
		"revoked " + strings.Repeat("1", 64) + "\nretired " + strings.Repeat("2", 64) + "\nunrevoked " + strings.Repeat("3", 64) + "\n"
	s, err := content.ParseFile([]byte(text), content.Options{Kind: content.Tokens})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Content
	before := c.Clone()
	id := c.Current.ID()
	o := options{
		now: time.Now(), until: time.Now().Add(time.Hour), slot: slotPrevious, ids: []rotation.ID{id},
		candidate: content.Token("CANARY-9d21-another"), replace: true, again: true,
	}
	for name, do := range map[string]step{"stage": stage, "promote": promote, "retire": retire, "revoke": revoke, "unrevoke": unrevoke, "now": now} {
		ch, err := apply(do, c, o)
		if err != nil || !ch.changed {
			t.Errorf("%s: changed %t, %v", name, ch.changed, err)
		}
		if !reflect.DeepEqual(c, before) {
			t.Errorf("%s modified what it got", name)
		}
	}
}

// Every client has its share of the retired digests, since none of them may cut an agent
// off from what it missed of another.
func TestRetiredDigestsOfManyClients(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		name := fmt.Sprintf(" name=c%d\n", i)
		fmt.Fprintf(&text, "CANARY-9d21-current-%d%sCANARY-9d21-old-%[1]d previous%[2]s", i, name)
	}
	s, err := content.ParseFile([]byte(text.String()), content.Options{Kind: content.Tokens})
	if err != nil {
		t.Fatal(err)
	}
	s, _ = s.Of("c1")
	for were, want := range map[int]int{100: 101, 1500: maxRetiredAll} {
		s.Retired = nil
		for i := range were {
			s.Retired = append(s.Retired, rotation.ID{1, byte(i), byte(i >> 8)})
		}
		if ch, err := apply(retire, s.Content, options{slot: slotPrevious}); err != nil || len(ch.to.Retired) != want {
			t.Errorf("%d are retired, %v; want %d", len(ch.to.Retired), err, want)
		}
	}
}
