package rotate

import (
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
