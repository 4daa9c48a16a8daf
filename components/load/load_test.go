package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func object(name, version string, number int) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version, Labels: map[string]string{labelKey: "new"}},
		Data:       map[string]string{"created": "0", "number": fmt.Sprint(number)},
	}
}

func same(t *testing.T, what string, have, want any) {
	t.Helper()
	if !reflect.DeepEqual(have, want) {
		t.Errorf("%s: %v, and not %v", what, have, want)
	}
}

func TestWatchFindsWhatIsMissingTwiceOrInDisorder(t *testing.T) {
	writes, watch := newWrites(), newWatch()
	for number, version := range []string{"10", "11", "12"} {
		writes.acknowledge("new", number, object("a", version, number))
	}
	watch.see(object("a", "12", 2), false)
	watch.see(object("a", "10", 0), false)
	watch.see(object("a", "10", 0), false)
	watch.see(object("a", "12", 2), true) // a list shows again what was seen
	same(t, "all shown", watch.compare(writes), false)
	same(t, "missing", watch.Missing, []string{"a#1"})
	same(t, "twice", watch.Twice, []string{"a#0"})
	same(t, "disorder", watch.Disorder, []string{"a#0"})
	same(t, "events", watch.Events, 2)
}

// Whichever request comes first, the numbers of an object's writes grow.
func TestAWriteHasItsNumberFromWhenItTakesItsObject(t *testing.T) {
	writes := newWrites()
	_, first := writes.take("new")
	writes.acknowledge("new", first, object("a", "10", first))
	_, other := writes.take("kept")
	taken, second := writes.take("new")
	same(t, "object", taken.Name, "a")
	same(t, "grows", []int{first, other, second}, []int{0, 1, 2})
}

func TestANewListSkipsWhatWasOverwrittenMeanwhileAndNothingElse(t *testing.T) {
	writes, watch := newWrites(), newWatch()
	for number, version := range []string{"10", "11", "12", "13", "14"} {
		writes.acknowledge("new", number, object("a", version, number))
	}
	writes.acknowledge("new", 5, object("b", "13", 5)) // not in the list
	list := func(version string, items ...corev1.ConfigMap) *corev1.ConfigMapList {
		return &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: version}, Items: items}
	}
	watch.seeList(list("9"))
	watch.see(object("a", "11", 1), false) // 10 is missing, though no list passed over it
	watch.seeList(list("14", *object("a", "14", 4)))
	watch.compare(writes)
	same(t, "missing", watch.Missing, []string{"a#0", "b#5"})
	same(t, "skipped", watch.Skipped, 2)
	same(t, "relisted", watch.Relisted, 1)
}

func TestCompareFindsWhatIsLostOrMadeTwice(t *testing.T) {
	writes := newWrites()
	writes.acknowledge("new", 0, object("gone", "10", 0))
	writes.acknowledge("new", 2, object("old", "11", 2))
	writes.acknowledge("new", 4, object("old", "12", 4))
	writes.acknowledge("new", 6, object("newer", "13", 6))
	report := &Report{}
	items := []corev1.ConfigMap{*object("old", "11", 2), *object("newer", "15", 8), *object("unknown", "16", 0)}
	items[1].Data["created"] = "6"
	report.compare(writes, items)
	same(t, "lost", report.Lost, []string{"gone#0", "old#4"})
	same(t, "twice", report.Twice, []string{"new#0"}) // old and unknown
	same(t, "acknowledged", report.Acknowledged, 4)
	same(t, "unacknowledged", report.Unacknowledged, 2) // newer was updated once more, unknown was made
}

func TestRequestsAreStartedOnScheduleWhateverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		class := newClass(func(ctx context.Context, number int) (string, error) {
			<-ctx.Done()
			return "get", ctx.Err()
		})
		class.inFlight = make(chan struct{}, 15)
		ctx, cancel := context.WithTimeout(context.Background(), 1850*time.Millisecond)
		defer cancel()
		class.run(ctx, 10)
		class.sum()
		same(t, "requests", class.Requests, 19)
		same(t, "failed", class.Failed, 19)
		same(t, "slowest", class.Slowest, requestTimeout.Seconds())
		same(t, "first error", class.Errors[0].Error, "not sent: 15 requests are in flight")
	})
}

// What a server sees of 20 requests of each class, of which the first is answered by 429.
func TestClassesConnectAsTheySayAndWaitAsTheyAreTold(t *testing.T) {
	for name, want := range map[string]struct {
		protocol    string
		connections int32
	}{"new": {"HTTP/1.1", 21}, "kept": {"HTTP/1.1", 1}, "http2": {"HTTP/2.0", connections}} {
		t.Run(name, func(t *testing.T) {
			var dialled, asked atomic.Int32
			var other atomic.Value
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != want.protocol {
					other.Store(r.Proto)
				}
				if asked.Add(1) == 1 {
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"number":"99"}}`)
			}))
			server.EnableHTTP2 = true
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					dialled.Add(1)
				}
			}
			server.StartTLS()
			defer server.Close()
			config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
			class, err := dialTo(fixedAccess(config), name, "default", newWrites(), ways[name])
			if err != nil {
				t.Fatal(err)
			}
			for number := range 20 {
				if verb, err := class.ask(context.Background(), number); err != nil {
					t.Errorf("%s %d: %v", verb, number, err)
				}
			}
			same(t, "requests", asked.Load(), int32(21))
			same(t, "connections", dialled.Load(), want.connections)
			same(t, "another protocol", other.Load(), nil)
		})
	}
}

func TestAReadThatMissesAnAcknowledgedWriteHasFailed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"number":"6"}}`)
	}))
	defer server.Close()
	writes := newWrites()
	class, err := dialTo(fixedAccess(&rest.Config{Host: server.URL}), "http2", "default", writes, ways["http2"])
	if err != nil {
		t.Fatal(err)
	}
	writes.acknowledge("http2", 6, object("a", "10", 6))
	if verb, err := class.ask(context.Background(), 1); err != nil {
		t.Errorf("%s: %v", verb, err)
	}
	writes.acknowledge("http2", 8, object("a", "11", 8))
	if _, err := class.ask(context.Background(), 1); err == nil || !strings.HasPrefix(err.Error(), "stale: a has 6") {
		t.Errorf("not found: %v", err)
	}
}
