package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const rereadEvery = time.Second

// Access is how the API is reached at the moment. A rotation of CAs writes the kubeconfig again while it goes on; a
// program that lives through one has to read it again, as every new kubectl does.
type Access struct{ config atomic.Pointer[rest.Config] }

func fixedAccess(config *rest.Config) *Access {
	access := &Access{}
	access.config.Store(config)
	return access
}

// accessOf reads a kubeconfig, and reads it again whenever it has changed, until ctx is done.
func accessOf(ctx context.Context, path string) (*Access, error) {
	read := written(path)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	access := fixedAccess(config)
	go func() {
		for ctx.Err() == nil {
			time.Sleep(rereadEvery)
			if now := written(path); !now.Equal(read) {
				if config, err := clientcmd.BuildConfigFromFlags("", path); err == nil {
					access.config.Store(config)
					read = now
				}
			}
		}
	}()
	return access, nil
}

func written(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Made is what was made of a configuration; it is made again where that has changed.
type Made[T any] struct {
	access *Access
	make   func(*rest.Config) (T, error)
	mutex  sync.Mutex
	of     *rest.Config
	value  T
}

func madeOf[T any](access *Access, make func(*rest.Config) (T, error)) (*Made[T], error) {
	config := access.config.Load()
	value, err := make(config)
	return &Made[T]{access: access, make: make, of: config, value: value}, err
}

func (m *Made[T]) get() T {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	config := m.access.config.Load()
	if config == m.of {
		return m.value
	}
	m.of = config
	if value, err := m.make(config); err == nil {
		m.value = value
	} else {
		fmt.Fprintln(os.Stderr, "load: the kubeconfig has changed, and cannot be used:", err)
	}
	return m.value
}
