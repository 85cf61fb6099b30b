"""The class that implements the payment door: a family of verbs a module, one method a verb."""

from kessai.services.payment.service.charges import Charges
from kessai.services.payment.service.codes import CodePayments
from kessai.services.payment.service.holding import Holding
from kessai.services.payment.service.movements import Movements
from kessai.services.payment.service.orders import NetPayments
from kessai.services.payment.service.outside import OutsideWorld


class PaymentService(CodePayments, NetPayments, Charges, Movements, Holding, OutsideWorld):
    """決済処理. Any number of processes may run one on the same database."""


__all__ = ["PaymentService"]
