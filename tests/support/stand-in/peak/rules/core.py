"""Generic functions whose methods are chosen by a rule: an expression over the arguments, or a tuple of types.

A stand-in: it tries the methods of one kind in the order they were added, the last one first, where PEAK-Rules
compares what the rules imply. Python 2 only, as TurboGears 1.1 is.
"""

import inspect
import sys
import types

_generics = {}  # number -> Generic; the code that replaces a function's own finds its rules here by number


class NoApplicableMethods(Exception):
    pass


class Method:
    """A kind of method. What is added as a First is tried before what is added as a Method."""

    @classmethod
    def make_decorator(cls, name):
        def decorator(function, rule=()):
            return _added(function, cls, rule, sys._getframe(1))

        decorator.__name__ = name
        return decorator


class Around(Method):
    pass


class Before(Method):
    pass


class After(Method):
    pass


def always_overrides(kind, other):
    """Nothing to record: every kind but Method itself is tried before Method."""


class Generic:
    def __init__(self, original):
        self.original = original
        self.default = original
        self.methods = []  # (kind, whether a rule applies, function), the last added first

    def __call__(self, args, kw):
        names = inspect.getcallargs(self.original, *args, **kw)
        applicable = [(kind, method) for kind, applies, method in self.methods if applies(names, args)]
        for kind, method in applicable:
            if kind is Before:
                method(*args, **kw)
        primary = [method for kind, method in applicable if kind not in (Method, Before, After)]
        primary += [method for kind, method in applicable if kind is Method]
        if not primary and self.default is None:
            raise NoApplicableMethods(args, kw)
        result = (primary[0] if primary else self.default)(*args, **kw)
        for kind, method in applicable:
            if kind is After:
                method(*args, **kw)
        return result


def _generic(function):
    """The rules of `function`, whose code is replaced in place: whoever imported it already gets the rules too."""
    number = getattr(function, "peak_rules_number", None)
    if number is None:
        original = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        number = function.peak_rules_number = len(_generics)
        _generics[number] = Generic(original)
        scope = {}
        template = (
            "def {}(*args, **kw):\n    from peak.rules.core import _generics\n    return _generics[{}](args, kw)\n"
        )
        exec(template.format(function.__name__, number), scope)
        function.__code__ = scope[function.__name__].__code__
        function.__defaults__ = None
    return _generics[number]


def _added(function, kind, rule, frame):
    scope = dict(frame.f_globals)
    scope.update(frame.f_locals)
    code = compile(rule.strip(), "<rule>", "eval") if isinstance(rule, str) else None
    wanted = rule if isinstance(rule, tuple) else (rule,)

    def applies(names, args):
        if code is not None:
            return eval(code, frame.f_globals, dict(scope, **names))
        return all(isinstance(arg, type_) for arg, type_ in zip(args, wanted))

    def decorate(method):
        _generic(function).methods.insert(0, (kind, applies, method))
        return method

    return decorate


def abstract(function=None):
    """A decorator, with or without a call: `function` has no default method."""
    if function is None:
        return abstract
    _generic(function).default = None
    return function


when = Method.make_decorator("when")
around = Around.make_decorator("around")
before = Before.make_decorator("before")
after = After.make_decorator("after")
