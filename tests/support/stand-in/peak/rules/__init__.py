from peak.rules.core import NoApplicableMethods, abstract, after, always_overrides, around, before, when

__all__ = ["NoApplicableMethods", "abstract", "after", "always_overrides", "around", "before", "when"]
