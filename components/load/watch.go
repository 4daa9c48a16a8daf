package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Watch is what one long watch has shown.
type Watch struct {
	Events   int      `json:"events"`
	Relisted int      `json:"relisted"` // times that the API could not go on from where the watch was
	Missing  []string `json:"missing"`  // acknowledged, and never shown
	Twice    []string `json:"twice"`
	Disorder []string `json:"disorder"` // shown after a later write to the same object

	mutex sync.Mutex
	seen  map[string]bool // by resourceVersion
	last  map[string]int  // by object
}

func newWatch() *Watch {
	return &Watch{
		Missing: []string{}, Twice: []string{}, Disorder: []string{}, seen: map[string]bool{}, last: map[string]int{},
	}
}

// follow lists, watches from there on, and lists again only where that is the one way left; ctx ends it. Each
// connection is a request of the class. `listed` is called after the first list.
func (w *Watch) follow(ctx context.Context, client typed.ConfigMapInterface, class *Class, listed func()) {
	source := &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			began := time.Now()
			options.LabelSelector = labelKey
			found, err := client.Watch(ctx, options)
			if ctx.Err() == nil {
				class.count(began, "watch", err)
			}
			return found, err
		},
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		began := time.Now()
		list, err := client.List(ctx, metav1.ListOptions{LabelSelector: labelKey})
		if err != nil {
			if ctx.Err() == nil {
				class.count(began, "list", err)
			}
			return
		}
		for _, object := range list.Items {
			w.see(&object, true)
		}
		events, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, source)
		if err != nil {
			class.count(began, "watch", err)
			return
		}
		listed()
		for event := range events.ResultChan() {
			object, is := event.Object.(*corev1.ConfigMap)
			if is && event.Type != watch.Deleted {
				w.see(object, false)
			}
		}
		if ctx.Err() == nil {
			w.mutex.Lock()
			w.Relisted++
			w.mutex.Unlock()
		}
	}, time.Second)
}

// see counts an event; a list may show again what events have shown.
func (w *Watch) see(object *corev1.ConfigMap, listed bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	number := numberOf(object, "number")
	quoted := fmt.Sprintf("%s#%d", object.Name, number)
	last, known := w.last[object.Name]
	switch {
	case !w.seen[object.ResourceVersion]:
		w.Events++
		if known && number < last {
			w.Disorder = append(w.Disorder, quoted)
		}
	case !listed:
		w.Twice = append(w.Twice, quoted)
	}
	w.seen[object.ResourceVersion] = true
	w.last[object.Name] = max(last, number)
}

// missing quotes the writes that were acknowledged and not shown.
func (w *Watch) missing(writes *Writes) []string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	missing := []string{}
	for name, made := range writes.made {
		for _, write := range made {
			if !w.seen[write.version] {
				missing = append(missing, fmt.Sprintf("%s#%d", name, write.number))
			}
		}
	}
	slices.Sort(missing)
	return missing
}
