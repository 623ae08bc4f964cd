package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
)

// Endpoints returns the addresses of the pods behind a Service, by their namespace, each once and
// sorted. The namespace "" means the Services of that name in all namespaces. A pod that
// is not ready, or is ending, counts: it may still get requests
// (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/).
func (c *Client) Endpoints(ctx context.Context, namespace, service string) (map[string][]string, error) {
	path := "/apis/discovery.k8s.io/v1/endpointslices"
	if namespace != "" {
		path = "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(namespace) + "/endpointslices"
	}
	all := map[string][]string{}
	about := object{kind: "endpointslice", namespace: namespace}
	err := c.list(ctx, path, url.Values{"labelSelector": {"kubernetes.io/service-name=" + service}}, about, func(item json.RawMessage) error {
		var slice struct {
			Metadata  struct{ Namespace string }
			Endpoints []struct{ Addresses []string }
		}
		if json.Unmarshal(item, &slice) != nil {
			return &Error{Reason: Broken, method: http.MethodGet, object: about}
		}
		in := slice.Metadata.Namespace
		for _, e := range slice.Endpoints {
			if len(e.Addresses) > 0 { // the others are of the same pod
				all[in] = append(all[in], e.Addresses[0])
			}
		}
		return nil
	})
	for in, addresses := range all {
		slices.Sort(addresses)
		all[in] = slices.Compact(addresses)
	}
	return all, err
}
