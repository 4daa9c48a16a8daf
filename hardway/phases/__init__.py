"""The chapters of the tutorial, one file each, in their order."""

from hardway.errors import UsageError
from hardway.phases import (
    access,
    certs,
    control_plane,
    dns,
    encryption,
    etcd,
    hosts,
    kubeconfigs,
    load_balancer,
    routes,
    smoke_test,
    workers,
)
from hardway.phases.base import Chapter

CHAPTERS: tuple[Chapter, ...] = (
    hosts.CHAPTER,
    certs.CHAPTER,
    kubeconfigs.CHAPTER,
    encryption.CHAPTER,
    etcd.CHAPTER,
    control_plane.CHAPTER,
    load_balancer.CHAPTER,
    workers.CHAPTER,
    access.CHAPTER,
    routes.CHAPTER,
    dns.CHAPTER,
    smoke_test.CHAPTER,
)
CHAPTER_NAMES: tuple[str, ...] = tuple(one.name for one in CHAPTERS)


def chapter(name: str) -> Chapter:
    """The chapter of that name; raises UsageError that lists those there are."""
    for one in CHAPTERS:
        if one.name == name:
            return one
    raise UsageError(f"no chapter is named {name!r}", hint=f"one of: {', '.join(CHAPTER_NAMES)}")
