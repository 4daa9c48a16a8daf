package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Writes are those that were acknowledged. An object is in the hands of one write at a time and an update names the
// version that it replaces, so no update can be made twice; a create that is made twice leaves two objects. A write has
// its number from when it takes its object: on a busy computer a request may overtake one that was due before it.
type Writes struct {
	mutex  sync.Mutex
	next   int
	made   map[string][]write             // by the object's name
	free   map[string][]*corev1.ConfigMap // by class: objects for the next updates
	latest map[string]reading             // by class
}

type write struct {
	number  int
	version string
}

type reading struct {
	name   string
	number int
}

func newWrites() *Writes {
	return &Writes{
		made: map[string][]write{}, free: map[string][]*corev1.ConfigMap{}, latest: map[string]reading{},
	}
}

// make creates an object, or updates one that is free.
func (w *Writes) make(ctx context.Context, client typed.ConfigMapInterface, class string) (string, error) {
	object, number := w.take(class)
	verb, text := "update", strconv.Itoa(number)
	var err error
	if object == nil {
		verb = "create"
		object, err = client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{GenerateName: class + "-", Labels: map[string]string{labelKey: class}},
			Data:       map[string]string{"created": text, "number": text},
		}, metav1.CreateOptions{})
	} else {
		object.Data["number"] = text
		object, err = client.Update(ctx, object, metav1.UpdateOptions{})
	}
	if err != nil {
		return verb, err // what came of it is unknown, so the object is never used again
	}
	w.acknowledge(class, number, object)
	return verb, nil
}

// take gives an object that is free, if there is one, and the number of the write to it.
func (w *Writes) take(class string) (*corev1.ConfigMap, int) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	number := w.next
	w.next++
	free := w.free[class]
	if len(free) == 0 {
		return nil, number
	}
	w.free[class] = free[1:]
	return free[0], number
}

func (w *Writes) acknowledge(class string, number int, object *corev1.ConfigMap) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.made[object.Name] = append(w.made[object.Name], write{number, object.ResourceVersion})
	w.latest[class] = reading{object.Name, number}
	if len(w.made[object.Name]) < writesPerName {
		w.free[class] = append(w.free[class], object)
	}
}

// read gets what was written last, or lists. What was acknowledged before the read must be in its answer.
func (w *Writes) read(ctx context.Context, client typed.ConfigMapInterface, class string, list bool) (string, error) {
	w.mutex.Lock()
	latest, any := w.latest[class]
	w.mutex.Unlock()
	if list || !any {
		_, err := client.List(ctx, metav1.ListOptions{LabelSelector: labelKey, Limit: 20})
		return "list", err
	}
	object, err := client.Get(ctx, latest.name, metav1.GetOptions{})
	if err == nil && numberOf(object, "number") < latest.number {
		err = fmt.Errorf("stale: %s has %s after %d was acknowledged", latest.name, object.Data["number"], latest.number)
	}
	return "get", err
}

func numberOf(object *corev1.ConfigMap, key string) int {
	number, err := strconv.Atoi(object.Data[key])
	if err != nil {
		return -1
	}
	return number
}

// compare holds what was acknowledged against what is there.
func (r *Report) compare(writes *Writes, items []corev1.ConfigMap) {
	there, creates := map[string]int{}, map[string]int{}
	for _, object := range items {
		there[object.Name] = numberOf(&object, "number")
		made, known := writes.made[object.Name]
		if !known || there[object.Name] > made[len(made)-1].number {
			r.Unacknowledged++
		}
		create := object.Labels[labelKey] + "#" + object.Data["created"]
		if creates[create]++; creates[create] == 2 {
			r.Twice = append(r.Twice, create)
		}
	}
	for name, made := range writes.made {
		r.Acknowledged += len(made)
		number, known := there[name]
		for _, write := range made {
			if !known || number < write.number {
				r.Lost = append(r.Lost, fmt.Sprintf("%s#%d", name, write.number))
			}
		}
	}
	slices.Sort(r.Lost)
}
