package peers

import (
	"context"
	"fmt"
	"path/filepath"

	otel "github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensionauth"

	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// An OTel is the server side of OpenTelemetry's bearertokenauth extension.
type OTel struct {
	extensionauth.Server
	shutdown func() error
}

// StartOTel starts an extension that reads its tokens from the file at path. It expects
// the token, without a scheme, in the header name.
func StartOTel(ctx context.Context, path, name string) (*OTel, error) {
	f := otel.NewFactory()
	cfg, ok := f.CreateDefaultConfig().(*otel.Config)
	if !ok {
		return nil, fmt.Errorf("bearertokenauth: the configuration has an unexpected type")
	}
	cfg.Header, cfg.Scheme, cfg.Filename = name, "", path
	cfg.RetryOnFailure.Enabled, cfg.WaitForTokenFile = true, true // so that Start waits for the tokens
	e, err := f.Create(ctx, extension.Settings{ID: component.NewID(f.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}, cfg)
	if err != nil {
		return nil, err
	}
	s, ok := e.(extensionauth.Server)
	if !ok {
		return nil, fmt.Errorf("bearertokenauth: the extension does not implement extensionauth.Server")
	}
	if err := e.Start(ctx, componenttest.NewNopHost()); err != nil {
		return nil, err
	}
	return &OTel{s, func() error { return e.Shutdown(context.WithoutCancel(ctx)) }}, nil
}

// OTelOf starts an extension that accepts n tokens, from a file in dir.
func OTelOf(ctx context.Context, dir string, n int) (*OTel, error) {
	path, err := work.WriteTokens(filepath.Clean(dir), n)
	if err != nil {
		return nil, err
	}
	return StartOTel(ctx, path, work.Header)
}

// Close stops the extension.
func (o *OTel) Close() error { return o.shutdown() }
