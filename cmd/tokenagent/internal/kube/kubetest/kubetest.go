// Package kubetest simulates the part of a Kubernetes API server that package kube uses:
// objects of any kind, with resourceVersion, generation, label selectors, pages and dry
// runs. It runs no controllers: a test changes status and pods itself.
package kubetest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Object is a Kubernetes object as JSON.
type Object = map[string]any

// A Server is an [http.Handler] and, so that tests need no network, an [http.RoundTripper].
// The zero Server has no objects. It is safe for concurrent use.
type Server struct {
	// Changed is called after an object was stored by a request, without a lock; nil for nothing.
	Changed func(path string, o Object)

	mu       sync.Mutex
	objects  map[string]Object // by path
	version  int
	requests []string
}

// Put stores o at the path of its API, such as /api/v1/namespaces/app/secrets/token.
func (s *Server) Put(path string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, clone(o))
}

// Get returns the object at path, or nil.
func (s *Server) Get(path string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.objects[path])
}

// Delete removes the object at path.
func (s *Server) Delete(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, path)
}

// List returns the paths of the objects whose path contains part, sorted.
func (s *Server) List(part string) (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.objects {
		if strings.Contains(path, part) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// Requests returns what was asked so far, as METHOD PATH?QUERY.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// RoundTrip answers req as ServeHTTP does.
func (s *Server) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	return w.Result(), nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	code, answer, stored := s.serve(req, body)
	if stored != "" && s.Changed != nil {
		s.Changed(stored, s.Get(stored))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *Server) serve(req *http.Request, body []byte) (code int, answer Object, stored string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req.Method+" "+req.URL.RequestURI())
	path, dry := req.URL.Path, req.URL.Query().Get("dryRun") == "All"
	var sent Object
	if len(body) > 0 && json.Unmarshal(body, &sent) != nil {
		return fail(http.StatusBadRequest, "BadRequest", "the body is no JSON")
	}
	was := s.objects[path]
	switch {
	case req.Method == http.MethodGet && was != nil:
		return http.StatusOK, clone(was), ""
	case req.Method == http.MethodGet && isCollection(path):
		return s.list(req)
	case req.Method == http.MethodPost && isCollection(path):
		path += "/" + text(sent, "metadata", "name")
		if s.objects[path] != nil {
			return fail(http.StatusConflict, "AlreadyExists", "it exists")
		}
	case req.Method == http.MethodPut && was != nil:
		if v := text(sent, "metadata", "resourceVersion"); v != "" && v != text(was, "metadata", "resourceVersion") {
			return fail(http.StatusConflict, "Conflict", "the object has been modified")
		}
	default:
		return fail(http.StatusNotFound, "NotFound", path+" not found")
	}
	if dry {
		return http.StatusOK, sent, ""
	}
	s.put(path, sent)
	return http.StatusOK, clone(s.objects[path]), path
}

// put stores o. An object whose spec changes gets another generation.
func (s *Server) put(path string, o Object) {
	if s.objects == nil {
		s.objects = map[string]Object{}
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	meta, _ := o["metadata"].(Object)
	if meta == nil {
		meta = Object{}
		o["metadata"] = meta
	}
	meta["name"] = parts[len(parts)-1]
	if i := slices.Index(parts, "namespaces"); i >= 0 {
		meta["namespace"] = parts[i+1]
	}
	was := s.objects[path]
	generation := 1
	if was != nil {
		generation, _ = strconv.Atoi(fmt.Sprint(was["metadata"].(Object)["generation"]))
		if !reflect.DeepEqual(clone(was)["spec"], clone(o)["spec"]) {
			generation++
		}
	}
	s.version++
	meta["generation"], meta["resourceVersion"] = generation, strconv.Itoa(s.version)
	s.objects[path] = clone(o)
}

// list answers with one page.
func (s *Server) list(req *http.Request) (int, Object, string) {
	query := req.URL.Query()
	parts := strings.Split(req.URL.Path, "/")
	resource := parts[len(parts)-1]
	prefix := strings.TrimSuffix(req.URL.Path, resource)
	items := []any{}
	after, limit, more := query.Get("continue"), 1<<30, ""
	if n, err := strconv.Atoi(query.Get("limit")); err == nil {
		limit = n
	}
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		switch {
		case !strings.HasPrefix(path, prefix) || !strings.Contains(path, "/"+resource+"/") || path <= after:
		case !selects(query.Get("labelSelector"), s.objects[path]):
		case len(items) == limit:
			return http.StatusOK, Object{"kind": "List", "metadata": Object{"continue": more}, "items": items}, ""
		default:
			o := clone(s.objects[path])
			delete(o, "kind") // as in a real list
			delete(o, "apiVersion")
			items, more = append(items, o), path
		}
	}
	return http.StatusOK, Object{"kind": "List", "metadata": Object{}, "items": items}, ""
}

// selects reports whether the selector, of NAME=VALUE only, matches o.
func selects(selector string, o Object) bool {
	for pair := range strings.SplitSeq(selector, ",") {
		if name, value, is := strings.Cut(pair, "="); is && text(o, "metadata", "labels", name) != value {
			return false
		}
	}
	return true
}

// isCollection reports whether path names all objects of a kind.
func isCollection(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if i := slices.Index(parts, "namespaces"); i >= 0 {
		return len(parts) == i+3
	}
	return len(parts) == 3 && parts[0] == "api" || len(parts) == 4 && parts[0] == "apis"
}

func fail(code int, reason, message string) (int, Object, string) {
	return code, Object{"kind": "Status", "reason": reason, "message": message, "code": code}, ""
}

// text returns the string at the path in o, or "".
func text(o Object, path ...string) string {
	for _, name := range path[:len(path)-1] {
		o, _ = o[name].(Object)
	}
	is, _ := o[path[len(path)-1]].(string)
	return is
}

func clone(o Object) (out Object) {
	if o == nil {
		return nil
	}
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err) // a test put in what JSON cannot say
	}
	_ = json.Unmarshal(raw, &out)
	return out
}
