// Package peers calls the published modules of other projects that do the same task as
// tokenagent.
package peers

// Modules returns the paths of the modules that the benchmarks measure or use.
func Modules() []string {
	return []string{
		"github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension",
		"github.com/dapr/go-sdk",
		"github.com/golang-jwt/jwt/v5",
		"github.com/MicahParks/keyfunc/v3",
		"github.com/lestrrat-go/jwx/v3",
		"github.com/go-jose/go-jose/v4",
		"github.com/coreos/go-oidc/v3",
		"google.golang.org/grpc",
		"sigs.k8s.io/controller-runtime",
		"github.com/spf13/viper",
		"github.com/fsnotify/fsnotify",
		"k8s.io/client-go",
		"golang.org/x/perf",
	}
}
