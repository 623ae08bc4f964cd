package rotate_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube/kubetest"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
)

// One rotation of 100 Secrets with 1,000 receivers sends at most 3 requests a Secret and step,
// also if the API server puts some off, and takes no longer than its waits and 30 s. Package
// process does the same with more of them, and measures the memory.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("it is slow")
	}
	const namespaces, each = 100, 10
	synctest.Test(t, func(t *testing.T) {
		api := &kubetest.Server{}
		for i := range namespaces {
			ns := fmt.Sprintf("ns%03d", i)
			api.Put(secretPath(ns), object{
				"apiVersion": "v1", "kind": "Secret", "metadata": object{"labels": object{"group": "app"}},
				"data": object{"token": base64.StdEncoding.EncodeToString([]byte(one))},
			})
			var addresses []any
			for j := range each {
				addresses = append(addresses, object{"addresses": []any{fmt.Sprintf("10.%d.%d.%d", i/250, i%250, j)}})
			}
			api.Put("/apis/discovery.k8s.io/v1/namespaces/"+ns+"/endpointslices/receivers", object{
				"metadata": object{"labels": object{"kubernetes.io/service-name": "receivers"}}, "endpoints": addresses,
			})
		}
		client, err := kube.New("https://api.example", &sometimesBusy{next: api})
		if err != nil {
			t.Fatal(err)
		}
		o := auto.Options{
			Settings: auto.Settings{HasReceivers: true, MinAge: time.Hour, Timeout: time.Hour},
			Secrets:  &auto.Secrets{Client: client, Selector: "group=app"}, Client: client, AllNamespaces: true,
			Services: []auto.Service{{Name: "receivers", Port: 9464}}, Idle: time.Minute,
		}
		rotate.WholeSteps(&o, time.Hour)
		var staged, promoted time.Time
		var next string // fingerprint
		var asked sync.Mutex
		receivers := 0
		o.Progress = func(p auto.Progress) {
			asked.Lock()
			defer asked.Unlock()
			switch p.Event {
			case "staged":
				staged, next = time.Now(), p.Fingerprint
			case "promoted":
				promoted = time.Now()
			}
		}
		const late = 90 * time.Second // for each receiver to have a change
		o.Gate = gate.Gate{Ask: func(context.Context, string) (statusclient.Answer, error) {
			asked.Lock()
			defer asked.Unlock()
			receivers++
			s := agent.SourceStatus{Tokens: []agent.TokenStatus{{Slot: "current", Fingerprint: fingerprint(one)}}}
			if time.Since(staged) >= late {
				s.Tokens = append(s.Tokens, agent.TokenStatus{Slot: "next", Fingerprint: next})
			}
			if !promoted.IsZero() && time.Since(promoted) >= late {
				s.LastChange = promoted.Add(late)
				s.Tokens = []agent.TokenStatus{{Slot: "current", Fingerprint: next}, {Slot: "previous", Fingerprint: fingerprint(one), Deadline: time.Now().Add(time.Hour)}}
			}
			return statusclient.Answer{Status: &realm.Status{Status: agent.Status{Sources: []agent.SourceStatus{s}}}, At: time.Now()}, nil
		}}
		begun := time.Now()
		if err := auto.New(o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		const waits = late + late + time.Minute
		if took := time.Since(begun); took > waits+30*time.Second {
			t.Errorf("it took %v", took)
		}
		perSecret, pages := map[string]int{}, 0
		for _, r := range api.Requests() {
			method, uri, _ := strings.Cut(r, " ")
			switch {
			case method == http.MethodGet:
				pages++
			default:
				perSecret[strings.Split(uri, "/")[4]]++
			}
		}
		for ns, n := range perSecret {
			if n > 3*3 { // stage, promote, retire
				t.Errorf("%s: %d requests", ns, n)
				break
			}
		}
		if len(perSecret) != namespaces || pages > 100 {
			t.Errorf("%d namespaces, %d pages", len(perSecret), pages)
		}
		t.Logf("%v, %d requests, %d pages of lists, %d answers of receivers", time.Since(begun), len(api.Requests()), pages, receivers)
	})
}

// sometimesBusy puts every 50th request off.
type sometimesBusy struct {
	next *kubetest.Server
	mu   sync.Mutex
	n    int
}

func (b *sometimesBusy) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.n++
	busy := b.n%50 == 0
	b.mu.Unlock()
	if busy {
		return answer(http.StatusTooManyRequests, map[string]string{"Retry-After": "1"}, ""), nil
	}
	return b.next.RoundTrip(req)
}
