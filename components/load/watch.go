package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
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

// Watch is what one long watch has shown. An API server that was restarted cannot go on from before its start; it says
// so, and the client lists again. That is allowed, so what a list passes over is skipped, and not missing.
type Watch struct {
	Events   int      `json:"events"`
	Relisted int      `json:"relisted"`
	Skipped  int      `json:"skipped"` // acknowledged, and overwritten by the time of a new list
	Missing  []string `json:"missing"` // acknowledged, and never shown
	Twice    []string `json:"twice"`
	Disorder []string `json:"disorder"` // shown after a later write to the same object

	mutex sync.Mutex
	seen  map[string]bool // by resourceVersion
	last  map[string]int  // by object
	at    uint64          // the newest version that was shown
	lists []span          // but for the first
}

// span is of versions: after one, up to and with the other.
type span struct{ from, to uint64 }

func newWatch() *Watch {
	return &Watch{
		Missing: []string{}, Twice: []string{}, Disorder: []string{}, seen: map[string]bool{}, last: map[string]int{},
	}
}

// follow lists, watches from there on, and lists again only where that is the one way left; ctx ends it. Each
// connection is a request of the class. `listed` is called after the first list.
func (w *Watch) follow(ctx context.Context, client func() typed.ConfigMapInterface, class *Class, listed func()) {
	source := &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			began := time.Now()
			options.LabelSelector = labelKey
			found, err := client().Watch(ctx, options)
			if ctx.Err() == nil {
				class.count(began, "watch", err)
			}
			return found, err
		},
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		began := time.Now()
		list, err := client().List(ctx, metav1.ListOptions{LabelSelector: labelKey})
		if err != nil {
			if ctx.Err() == nil {
				class.count(began, "list", err)
			}
			return
		}
		w.seeList(list)
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
	}, time.Second)
}

func (w *Watch) seeList(list *corev1.ConfigMapList) {
	for _, object := range list.Items {
		w.see(&object, true)
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	to := versionOf(list.ResourceVersion)
	if w.at > 0 {
		w.Relisted++
		w.lists = append(w.lists, span{w.at, to})
	}
	w.at = to
}

// see counts an event; a list may show again what events have shown.
func (w *Watch) see(object *corev1.ConfigMap, listed bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	number := numberOf(object, "number")
	quoted := fmt.Sprintf("%s#%d", object.Name, number)
	last, known := w.last[object.Name]
	if !w.seen[object.ResourceVersion] {
		w.Events++
		if known && number < last {
			w.Disorder = append(w.Disorder, quoted)
		}
	} else if !listed {
		w.Twice = append(w.Twice, quoted)
	}
	w.seen[object.ResourceVersion] = true
	w.last[object.Name] = max(last, number)
	if !listed {
		w.at = max(w.at, versionOf(object.ResourceVersion))
	}
}

// compare finds the writes that were acknowledged and not shown; whether all were.
func (w *Watch) compare(writes *Writes) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.Missing, w.Skipped = []string{}, 0
	for name, made := range writes.made {
		for _, write := range made {
			switch {
			case w.seen[write.version]:
			case w.last[name] > write.number && w.listedPast(write.version):
				w.Skipped++
			default:
				w.Missing = append(w.Missing, fmt.Sprintf("%s#%d", name, write.number))
			}
		}
	}
	slices.Sort(w.Missing)
	return len(w.Missing) == 0
}

func (w *Watch) listedPast(version string) bool {
	at := versionOf(version)
	return slices.ContainsFunc(w.lists, func(list span) bool { return list.from < at && at <= list.to })
}

// versionOf reads a resourceVersion, which is a number of etcd's.
func versionOf(text string) uint64 {
	version, _ := strconv.ParseUint(text, 10, 64)
	return version
}
