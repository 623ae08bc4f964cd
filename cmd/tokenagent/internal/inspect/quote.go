package inspect

import (
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// Quote returns text in quotes as JSON has it, with all escaped that is not to
// be read.
func Quote(text string) string { return `"` + termsafe.Text(quoteMarks.Replace(text)) + `"` }

//nolint:gochecknoglobals // a constant
var quoteMarks = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
