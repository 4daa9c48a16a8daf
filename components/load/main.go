// Load puts a constant load on a Kubernetes API, and counts what fails, what is lost and what a watch misses.
//
// Requests are started on schedule, however long earlier ones take, and their time is counted from the schedule. All go
// through client-go, which waits and asks again where an answer is 429 with Retry-After; what counts is the answer after
// that. Half of them are numbered writes. Those that were acknowledged must be there at the end, and a watch must have
// shown each of them once, in the order in which they were made, unless it was told to list again.
//
// It exits with 0 where all went well, 1 where anything failed, was lost or was missed, and 2 where it could not begin.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const (
	requestTimeout = 10 * time.Second // with all that client-go repeats
	readyTimeout   = time.Minute
	endTimeout     = 30 * time.Second // to read everything back, and then for the watch to catch up
	maxInFlight    = 500              // of each class
	connections    = 5                // of HTTP/2, so that every API server has some
	writesPerName  = 10               // the first creates an object, the others update it
	maxErrors      = 20               // that a report quotes, of each class
	labelKey       = "hardway.local/load"
)

// Class is one way to reach the API: a function that makes one request, and what came of all of them.
type Class struct {
	Requests int       `json:"requests"`
	Failed   int       `json:"failed"`
	P50      float64   `json:"p50"` // seconds, as all that follow
	P99      float64   `json:"p99"`
	P999     float64   `json:"p999"`
	Slowest  float64   `json:"slowest"`
	Errors   []Failure `json:"errors"` // the first of them

	ask      func(ctx context.Context, number int) (verb string, err error)
	mutex    sync.Mutex
	took     []time.Duration
	inFlight chan struct{}
}

// Failure is a request whose last answer was an error, or that had none.
type Failure struct {
	Time    string  `json:"time"`
	Verb    string  `json:"verb"`
	Error   string  `json:"error"`
	Seconds float64 `json:"seconds"`
}

// Report is what the program writes at its end. Writes are quoted as OBJECT#NUMBER.
type Report struct {
	Seconds        float64           `json:"seconds"`
	Classes        map[string]*Class `json:"classes"`
	Acknowledged   int               `json:"acknowledged"`   // writes
	Unacknowledged int               `json:"unacknowledged"` // writes that failed, and were made all the same
	Lost           []string          `json:"lost"`           // acknowledged, and not there at the end
	Twice          []string          `json:"twice"`          // one create, and several objects
	Watch          *Watch            `json:"watch"`
	Error          string            `json:"error"` // why nothing could be read back
}

func newClass(ask func(context.Context, int) (string, error)) *Class {
	return &Class{ask: ask, Errors: []Failure{}, inFlight: make(chan struct{}, maxInFlight)}
}

// run starts requests on schedule until ctx is done, and waits for their answers.
func (c *Class) run(ctx context.Context, rate float64) {
	var group sync.WaitGroup
	defer group.Wait()
	began := time.Now()
	for number := 0; ; number++ {
		due := began.Add(time.Duration(float64(number) / rate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		select {
		case c.inFlight <- struct{}{}:
		default:
			c.count(due, "none", fmt.Errorf("not sent: %d requests are in flight", cap(c.inFlight)))
			continue
		}
		group.Go(func() {
			defer func() { <-c.inFlight }()
			within, cancel := context.WithTimeout(context.Background(), requestTimeout)
			defer cancel()
			verb, err := c.ask(within, number)
			c.count(due, verb, err)
		})
	}
}

func (c *Class) count(began time.Time, verb string, err error) {
	took := time.Since(began)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.took = append(c.took, took)
	if err == nil {
		return
	}
	c.Failed++
	if len(c.Errors) < maxErrors {
		at := began.UTC().Format("15:04:05.000")
		c.Errors = append(c.Errors, Failure{at, verb, err.Error(), took.Seconds()})
	}
}

// answered says whether a request has succeeded.
func (c *Class) answered(context.Context) (bool, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.took) > c.Failed, nil
}

func (c *Class) sum() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.Requests = len(c.took)
	if c.Requests == 0 {
		return
	}
	slices.Sort(c.took)
	at := func(part float64) float64 { return c.took[int(part*float64(c.Requests-1))].Seconds() }
	c.P50, c.P99, c.P999, c.Slowest = at(0.5), at(0.99), at(0.999), at(1)
}

// ways are how clients connect, by class. Another class is another line, or a function that makes a Class.
var ways = map[string]way{
	"new": {clients: 1, http1: true},
	// One connection, in use all the time: a server that stops closes those of HTTP/1.1 that were idle while it drained,
	// now and then just as a write is sent, which nobody repeats then. No order of restarts can help that.
	"kept":  {clients: 1, http1: true, keep: true},
	"http2": {clients: connections, keep: true},
}

type way struct {
	clients     int // used in turn; each has connections of its own
	http1, keep bool
}

func dialTo(access *Access, name, namespace string, writes *Writes, way way) (*Class, error) {
	made, err := madeOf(access, func(config *rest.Config) ([]typed.ConfigMapInterface, error) {
		return way.dial(config, namespace)
	})
	if err != nil {
		return nil, err
	}
	return newClass(func(ctx context.Context, number int) (string, error) {
		objects := made.get()
		client := objects[number%len(objects)]
		if number%2 == 0 {
			return writes.make(ctx, client, name)
		}
		return writes.read(ctx, client, name, number%4 == 3)
	}), nil
}

func (w way) dial(config *rest.Config, namespace string) ([]typed.ConfigMapInterface, error) {
	objects := make([]typed.ConfigMapInterface, w.clients)
	for number := range objects {
		own := separate(config)
		own.Timeout = requestTimeout
		if w.http1 {
			if err := useHTTP1(own, w.keep); err != nil {
				return nil, err
			}
		}
		client, err := kubernetes.NewForConfig(own)
		if err != nil {
			return nil, err
		}
		objects[number] = client.CoreV1().ConfigMaps(namespace)
	}
	return objects, nil
}

// separate makes a configuration whose clients share no connection with others: client-go shares them otherwise.
func separate(config *rest.Config) *rest.Config {
	own := rest.CopyConfig(config)
	own.QPS = -1
	own.Dial = (&net.Dialer{Timeout: requestTimeout, KeepAlive: 30 * time.Second}).DialContext
	return own
}

func useHTTP1(own *rest.Config, keep bool) error {
	secured, err := rest.TLSConfigFor(own)
	if err != nil {
		return err
	}
	secured.NextProtos = []string{"http/1.1"}
	own.Transport = &http.Transport{
		TLSClientConfig: secured, DialContext: own.Dial, DisableKeepAlives: !keep, MaxIdleConnsPerHost: 1,
	}
	own.TLSClientConfig, own.Dial = rest.TLSClientConfig{}, nil
	return nil
}

func (r *Report) good() bool {
	wrong := len(r.Lost) + len(r.Twice) + len(r.Watch.Missing) + len(r.Watch.Twice) + len(r.Watch.Disorder)
	for _, class := range r.Classes {
		wrong += class.Failed
	}
	return wrong == 0 && r.Error == ""
}

func (r *Report) print() {
	table := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "class\trequests\tfailed\tp50\tp99\tp99.9\tslowest\t")
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		c := r.Classes[name]
		fmt.Fprintf(table, "%s\t%d\t%d", name, c.Requests, c.Failed)
		fmt.Fprintf(table, "\t%.3f\t%.3f\t%.3f\t%.3f s\t\n", c.P50, c.P99, c.P999, c.Slowest)
	}
	table.Flush()
	w := r.Watch
	fmt.Fprintf(os.Stderr, "%d writes acknowledged: %d lost, %d made twice; %d failed and were made all the same\n",
		r.Acknowledged, len(r.Lost), len(r.Twice), r.Unacknowledged)
	fmt.Fprintf(os.Stderr, "%d events: %d missing, %d twice, %d in disorder; listed again %d times, %d skipped\n",
		w.Events, len(w.Missing), len(w.Twice), len(w.Disorder), w.Relisted, w.Skipped)
	if r.Error != "" {
		fmt.Fprintln(os.Stderr, "nothing could be read back:", r.Error)
	}
}

type options struct {
	kubeconfig, namespace, report, readyFile string
	rate                                     float64
	duration                                 time.Duration
}

func main() {
	var given options
	flag.StringVar(&given.kubeconfig, "kubeconfig", "", "`file` that says how to reach the API")
	flag.Float64Var(&given.rate, "rate", 20, "requests a second, of each class")
	flag.DurationVar(&given.duration, "duration", 0, "how long; 0: until SIGTERM or SIGINT")
	flag.StringVar(&given.namespace, "namespace", "", "an existing one; otherwise one is made, and deleted at the end")
	flag.StringVar(&given.report, "report", "", "`file` for the report, as JSON")
	flag.StringVar(&given.readyFile, "ready-file", "", "`file` that is made once every class has succeeded once")
	flag.Parse()
	report, err := run(given)
	if err == nil {
		report.print()
		err = save(given.report, report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	if !report.good() {
		os.Exit(1)
	}
}

func save(path string, report *Report) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil || path == "" {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

func run(given options) (*Report, error) {
	if given.rate <= 0 {
		return nil, errors.New("-rate must be more than 0")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if given.duration > 0 {
		ctx, stop = context.WithTimeout(ctx, given.duration)
		defer stop()
	}
	access, err := accessOf(context.Background(), given.kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := madeOf(access, func(config *rest.Config) (*kubernetes.Clientset, error) {
		return kubernetes.NewForConfig(separate(config))
	})
	if err != nil {
		return nil, err
	}
	namespace, remove, err := room(ctx, client, given.namespace)
	if err != nil {
		return nil, err
	}
	defer func() {
		within, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		if err := remove(within); err != nil {
			fmt.Fprintf(os.Stderr, "load: namespace %s still has what was made: %v\n", namespace, err)
		}
	}()
	writes := newWrites()
	classes := map[string]*Class{}
	for name, way := range ways {
		if classes[name], err = dialTo(access, name, namespace, writes, way); err != nil {
			return nil, err
		}
	}
	objects := func() typed.ConfigMapInterface { return client.get().CoreV1().ConfigMaps(namespace) }
	return measure(ctx, given, classes, writes, objects)
}

// room is the namespace to work in, and what takes away what was made.
func room(ctx context.Context, client *Made[*kubernetes.Clientset], name string) (string, func(context.Context) error, error) {
	if name != "" {
		ours := metav1.ListOptions{LabelSelector: labelKey}
		return name, func(ctx context.Context) error {
			return client.get().CoreV1().ConfigMaps(name).DeleteCollection(ctx, metav1.DeleteOptions{}, ours)
		}, nil
	}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "load-"}}
	space, err := client.get().CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{})
	if err != nil {
		return "", nil, err
	}
	return space.Name, func(ctx context.Context) error {
		return client.get().CoreV1().Namespaces().Delete(ctx, space.Name, metav1.DeleteOptions{})
	}, nil
}

// measure keeps all classes asking until ctx is done, and compares at the end.
func measure(
	ctx context.Context, given options, classes map[string]*Class, writes *Writes, client func() typed.ConfigMapInterface,
) (*Report, error) {
	always := context.Background()
	began, watcher, watching := time.Now(), newWatch(), newClass(nil)
	report := &Report{Classes: maps.Clone(classes), Watch: watcher, Lost: []string{}, Twice: []string{}}
	report.Classes["watch"] = watching
	following, endWatch := context.WithCancel(always)
	defer endWatch()
	var group, watchGroup sync.WaitGroup
	listed := make(chan struct{})
	watchGroup.Go(func() { watcher.follow(following, client, watching, sync.OnceFunc(func() { close(listed) })) })
	select {
	case <-listed:
	case <-ctx.Done():
	case <-time.After(readyTimeout):
		return nil, fmt.Errorf("ConfigMaps cannot be listed: %v", watching.Errors)
	}

	for _, class := range classes {
		group.Go(func() { class.run(ctx, given.rate) })
	}
	for name, class := range report.Classes {
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, readyTimeout, true, class.answered)
		if err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("no request of class %s has succeeded: %v", name, class.Errors)
		}
	}
	if given.readyFile != "" && ctx.Err() == nil {
		if err := os.WriteFile(given.readyFile, nil, 0o600); err != nil {
			return nil, err
		}
	}
	group.Wait()
	report.Seconds = time.Since(began).Seconds()

	var items *corev1.ConfigMapList
	var err error
	wait.PollUntilContextTimeout(always, time.Second, endTimeout, true, func(ctx context.Context) (bool, error) {
		items, err = client().List(ctx, metav1.ListOptions{LabelSelector: labelKey})
		return err == nil, nil
	})
	if err != nil {
		report.Error = err.Error()
	} else {
		report.compare(writes, items.Items)
		wait.PollUntilContextTimeout(always, 50*time.Millisecond, endTimeout, true, func(context.Context) (bool, error) {
			return watcher.compare(writes), nil
		})
	}
	endWatch()
	watchGroup.Wait()
	watcher.compare(writes)
	for _, class := range report.Classes {
		class.sum()
	}
	return report, nil
}
