package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

func readYAML(t *testing.T, name string) any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "gateways", name))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// readEnvoy reads a file as Envoy reads its bootstrap: into Envoy's own messages, with
// their validation rules. An unknown field is an error.
func readEnvoy(t *testing.T, name string) *bootstrapv3.Bootstrap {
	t.Helper()
	asJSON, err := json.Marshal(readYAML(t, name))
	if err != nil {
		t.Fatal(err)
	}
	var b bootstrapv3.Bootstrap
	if err := protojson.Unmarshal(asJSON, &b); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	validate(t, name, &b)
	return &b
}

// validate checks m and all messages that are packed into it.
func validate(t *testing.T, where string, m proto.Message) {
	t.Helper()
	v, ok := m.(interface{ ValidateAll() error })
	if !ok {
		t.Fatalf("%s: %T has no validation rules", where, m)
	}
	if err := v.ValidateAll(); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	unpack(t, where, m.ProtoReflect())
}

func unpack(t *testing.T, where string, m protoreflect.Message) {
	t.Helper()
	if packed, ok := m.Interface().(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		validate(t, where, inner)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				unpack(t, where, v.List().Get(i).Message())
			}
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				unpack(t, where, v.Message())
				return true
			})
		case f.Message() != nil && !f.IsMap():
			unpack(t, where, v.Message())
		}
		return true
	})
}

func unpacked[M proto.Message](t *testing.T, packed *anypb.Any, into M) M {
	t.Helper()
	if err := packed.UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
	return into
}

// TestGatewayFilesForEnvoy: Envoy understands the files, they fail closed, and every
// cluster that they name exists.
func TestGatewayFilesForEnvoy(t *testing.T) {
	for _, name := range []string{"envoy/grpc.yaml", "envoy/http.yaml"} {
		t.Run(name, func(t *testing.T) {
			b := readEnvoy(t, name)
			clusters := map[string]bool{}
			for _, c := range b.GetStaticResources().GetClusters() {
				clusters[c.GetName()] = true
				for _, o := range c.GetTypedExtensionProtocolOptions() {
					if unpacked(t, o, &upstreamsv3.HttpProtocolOptions{}).GetExplicitHttpConfig().GetHttp2ProtocolOptions() == nil {
						t.Error("gRPC without HTTP/2")
					}
				}
				if c.GetLoadAssignment().GetClusterName() != c.GetName() {
					t.Errorf("cluster %s is assigned the load of %s", c.GetName(), c.GetLoadAssignment().GetClusterName())
				}
			}
			h := unpacked(t, b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0].GetTypedConfig(), &hcmv3.HttpConnectionManager{})
			for _, r := range h.GetRouteConfig().GetVirtualHosts()[0].GetRoutes() {
				if !clusters[r.GetRoute().GetCluster()] {
					t.Errorf("cluster %q does not exist", r.GetRoute().GetCluster())
				}
			}
			filters := h.GetHttpFilters()
			if len(filters) != 3 {
				t.Fatalf("%d filters", len(filters))
			}
			mutation := unpacked(t, filters[0].GetTypedConfig(), &mutationv3.HeaderMutation{})
			var removed []string
			for _, m := range mutation.GetMutations().GetRequestMutations() {
				removed = append(removed, m.GetRemove())
			}
			if !slices.Equal(removed, []string{"x-tokenagent-subject", "x-tokenagent-method"}) {
				t.Errorf("a forged identity reaches the app: only %q are removed", removed)
			}
			authz := unpacked(t, filters[1].GetTypedConfig(), &extauthzv3.ExtAuthz{})
			if authz.GetFailureModeAllow() || !authz.GetEncodeRawHeaders() || authz.GetStatusOnError().GetCode() != 503 {
				t.Errorf("%v", authz)
			}
			asked := authz.GetGrpcService().GetEnvoyGrpc().GetClusterName() + authz.GetHttpService().GetServerUri().GetCluster()
			if !clusters[asked] || authz.GetWithRequestBody() != nil {
				t.Errorf("asks cluster %q, with the body %v", asked, authz.GetWithRequestBody())
			}
			unpacked(t, filters[2].GetTypedConfig(), &routerv3.Router{})
		})
	}
}

// TestGatewayFileForTraefik checks the statements of the file's comments that can be
// checked without Traefik.
func TestGatewayFileForTraefik(t *testing.T) {
	root := readYAML(t, "traefik/dynamic.yaml")
	at := func(path ...string) any {
		t.Helper()
		v := root
		for _, key := range path {
			m, ok := v.(map[string]any)
			if !ok || m[key] == nil {
				t.Fatalf("the file has no %q", path)
			}
			v = m[key]
		}
		return v
	}
	for router, want := range map[string][]any{
		"dapr":   {"no-forged-identity", "tokenagent", "no-token"},
		"bearer": {"no-forged-identity", "tokenagent", "no-token", "no-authorization"},
	} {
		got, _ := at("http", "routers", router, "middlewares").([]any)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", router, got)
		}
		for _, name := range got {
			at("http", "middlewares", fmt.Sprint(name))
		}
		at("http", "services", fmt.Sprint(at("http", "routers", router, "service")))
	}
	if got := fmt.Sprint(at("http", "middlewares", "tokenagent", "forwardAuth", "authResponseHeaders")); got != "[X-Tokenagent-Subject X-Tokenagent-Method]" {
		t.Errorf("takes over %s", got)
	}
	if d, b := at("http", "routers", "dapr", "priority").(int), at("http", "routers", "bearer", "priority").(int); d <= b {
		t.Error("every request takes the router bearer")
	}
}
