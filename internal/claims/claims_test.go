package claims_test

import (
	"testing"

	"github.com/tokenagent/tokenagent/internal/claims"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"": false, "a": true, "a~": true, "/": true, "/a/b": true, "/a~0b~1c": true, "/~": false, "/a~2": false, "/~0~": false, "//": true,
	} {
		if err := claims.CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("/a/0/b")
	f.Add("/~01/~1")
	f.Fuzz(func(t *testing.T, name string) {
		members := map[string]any{"a": []any{map[string]any{"b": 1.0}}, "~1": map[string]any{"/": "x"}}
		if value, _, there := claims.Find(members, name); !there && value != nil {
			t.Errorf("%q: a value of what is not there", name)
		}
		_ = claims.CheckName(name)
	})
}
