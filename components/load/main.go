// Load keeps a Kubernetes API busy through its endpoint, and counts what fails, what is lost and what a watch misses.
//
// Requests begin when their time has come, however long earlier ones take. They go as real clients go: through client-go,
// which waits and asks again where an answer is 429 with Retry-After. Half of them are writes: each makes a ConfigMap of
// its own, so that a write that was acknowledged and is not there was lost.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	patience = 10 * time.Second // of one request
	shown    = 20               // errors that a report quotes
)

// Class is one way in which clients connect.
type Class struct {
	Requests int      `json:"requests"`
	Failed   int      `json:"failed"`
	Slowest  float64  `json:"slowest"` // seconds
	P99      float64  `json:"p99"`
	Errors   []string `json:"errors"`

	client *kubernetes.Clientset
	mutex  sync.Mutex
	took   []time.Duration
}

// Report is what is said at the end.
type Report struct {
	Classes map[string]*Class `json:"classes"`
	Written int               `json:"written"` // acknowledged
	Lost    []string          `json:"lost"`    // acknowledged, and not there
	Unseen  []string          `json:"unseen"`  // acknowledged, and never shown by the watch
}

// names that somebody saw, or that somebody was promised.
type names struct {
	mutex sync.Mutex
	known map[string]bool
}

func (n *names) add(name string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.known[name] = true
}

func (n *names) has(name string) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.known[name]
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API")
	rate := flag.Float64("rate", 20, "requests a second, of each class")
	namespace := flag.String("namespace", "load", "made at the start, deleted at the end")
	report := flag.String("report", "", "where the report goes, as JSON")
	ready := flag.String("ready", "", "a file that is made once every class has been answered")
	flag.Parse()
	found, err := run(*kubeconfig, *rate, *namespace, *ready)
	if err == nil && *report != "" {
		err = write(*report, found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
}

func run(kubeconfig string, rate float64, namespace, ready string) (*Report, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	classes, err := dialled(config)
	if err != nil {
		return nil, err
	}
	stopped, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	always := context.Background()
	admin := classes["http2"].client
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err = admin.CoreV1().Namespaces().Create(always, space, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	defer admin.CoreV1().Namespaces().Delete(always, namespace, metav1.DeleteOptions{})
	seen, promised := &names{known: map[string]bool{}}, &names{known: map[string]bool{}}
	watching, endWatch := context.WithCancel(always)
	defer endWatch()
	if err = watch(watching, config, namespace, seen); err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	for name, class := range classes {
		group.Add(1)
		go func() {
			defer group.Done()
			class.keepAsking(stopped, name, namespace, rate, promised, &group)
		}()
	}
	for _, class := range classes {
		if err = wait.PollUntilContextTimeout(stopped, 100*time.Millisecond, time.Minute, true, class.answered); err != nil {
			return nil, fmt.Errorf("nothing was answered at the start: %w", err)
		}
	}
	if ready != "" {
		if err = os.WriteFile(ready, nil, 0o600); err != nil {
			return nil, err
		}
	}
	<-stopped.Done()
	group.Wait()
	for _, class := range classes {
		class.sum()
	}
	found := &Report{Classes: classes, Written: len(promised.known), Lost: []string{}, Unseen: []string{}}
	return found, found.compare(always, admin, namespace, promised, seen)
}

// dialled makes a client for each class; they share nothing.
func dialled(config *rest.Config) (map[string]*Class, error) {
	classes := map[string]*Class{}
	for name, transport := range map[string]func(*tls.Config) http.RoundTripper{
		"new":   func(t *tls.Config) http.RoundTripper { return http1(t, true) },
		"kept":  func(t *tls.Config) http.RoundTripper { return http1(t, false) },
		"http2": nil, // client-go's own
	} {
		own := rest.CopyConfig(config)
		own.QPS, own.Timeout = -1, patience
		if transport != nil {
			secured, err := rest.TLSConfigFor(own)
			if err != nil {
				return nil, err
			}
			own.Transport, own.TLSClientConfig = transport(secured), rest.TLSClientConfig{}
		}
		client, err := kubernetes.NewForConfig(own)
		if err != nil {
			return nil, err
		}
		classes[name] = &Class{client: client, Errors: []string{}}
	}
	return classes, nil
}

func http1(secured *tls.Config, fresh bool) http.RoundTripper {
	secured.NextProtos = []string{"http/1.1"}
	return &http.Transport{TLSClientConfig: secured, DisableKeepAlives: fresh}
}

// watch notes every ConfigMap that a client-go informer shows.
func watch(ctx context.Context, config *rest.Config, namespace string, seen *names) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	handler := cache.ResourceEventHandlerFuncs{AddFunc: func(object any) { seen.add(object.(*corev1.ConfigMap).Name) }}
	if _, err = factory.Core().V1().ConfigMaps().Informer().AddEventHandler(handler); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return nil
}

func (c *Class) keepAsking(
	ctx context.Context, name, namespace string, rate float64, promised *names, group *sync.WaitGroup,
) {
	clock := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer clock.Stop()
	for number := 0; ; number++ {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
		group.Add(1)
		go func() {
			defer group.Done()
			c.ask(namespace, fmt.Sprintf("%s-%d", name, number), number%2 == 0, promised)
		}()
	}
}

func (c *Class) ask(namespace, name string, write bool, promised *names) {
	began, what := time.Now(), "read"
	maps := c.client.CoreV1().ConfigMaps(namespace)
	var err error
	if write {
		what = "write"
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err = maps.Create(context.Background(), object, metav1.CreateOptions{}); err == nil {
			promised.add(name)
		}
	} else {
		_, err = c.client.CoreV1().Namespaces().Get(context.Background(), namespace, metav1.GetOptions{})
	}
	took := time.Since(began)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.took = append(c.took, took)
	if err == nil {
		return
	}
	c.Failed++
	if len(c.Errors) < shown {
		at := began.UTC().Format("15:04:05.000")
		c.Errors = append(c.Errors, fmt.Sprintf("%s %s after %.2f s: %v", at, what, took.Seconds(), err))
	}
}

func (c *Class) answered(context.Context) (bool, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.took) > c.Failed, nil
}

func (c *Class) sum() {
	slices.Sort(c.took)
	c.Requests = len(c.took)
	c.Slowest = c.took[len(c.took)-1].Seconds()
	c.P99 = c.took[len(c.took)*99/100].Seconds()
}

// compare holds what was promised against what is there and what the watch has shown; a watch may lag a little.
func (r *Report) compare(
	ctx context.Context, client *kubernetes.Clientset, namespace string, promised, seen *names,
) error {
	list, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, object := range list.Items {
		there[object.Name] = true
	}
	for name := range promised.known {
		if !there[name] {
			r.Lost = append(r.Lost, name)
		}
	}
	shownAll := func(context.Context) (bool, error) {
		r.Unseen = r.Unseen[:0]
		for name := range promised.known {
			if !seen.has(name) {
				r.Unseen = append(r.Unseen, name)
			}
		}
		return len(r.Unseen) == 0, nil
	}
	if wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, shownAll) != nil {
		slices.Sort(r.Unseen)
	}
	return nil
}

func write(path string, found *Report) error {
	text, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
