package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestOpenTelemetry(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans)))
	h := handler(verify.Static("a-token-for-tests"))
	for _, token := range []string{"a-token-for-tests", "another-token"} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set("Dapr-Api-Token", token)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans, want one for each request", len(ended))
	}
	for n, want := range []string{"static", ""} {
		attributes := attribute.NewSet(ended[n].Attributes()...)
		if got, _ := attributes.Value("enduser.id"); got.AsString() != want {
			t.Errorf("span %d: enduser.id is %q, want %q", n, got.AsString(), want)
		}
	}
}
