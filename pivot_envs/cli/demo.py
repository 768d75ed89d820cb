from dataclasses import dataclass
@dataclass(frozen=True)
class Demo:
    """later"""
    def run(self)->int: return 0
